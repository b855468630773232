;; Names a service with memory that it does not have.
(import "guardian:playbook/service@0.1.0" "status" (func $status (param i32 i32 i32)))
(func $remediate (type $remediate)
  (call $status (i32.const -16) (i32.const 64) (i32.const 2048))
  (i32.const 1024))
