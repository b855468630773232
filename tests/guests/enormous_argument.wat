;; Names a service in three MiB: more than the host even looks at.
(import "guardian:playbook/service@0.1.0" "status" (func $status (param i32 i32 i32)))
(func $remediate (type $remediate)
  (drop (memory.grow (i32.const 64)))
  (memory.fill (i32.const 65536) (i32.const 97) (i32.const 3145728))
  (call $status (i32.const 65536) (i32.const 3145728) (i32.const 2048))
  (i32.const 1024))
