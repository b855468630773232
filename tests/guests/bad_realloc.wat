;; Takes the host's answer and says it has put it where there is nothing.
(import "guardian:playbook/service@0.1.0" "status" (func $status (param i32 i32 i32)))
(data (i32.const 16) "web")
(func $remediate (type $remediate)
  (global.set $free (i32.const -4096))
  (call $status (i32.const 16) (i32.const 3) (i32.const 2048))
  (i32.const 1024))
