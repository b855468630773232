;; Looks at a service, looks at its check, and says that it is done: the playbook that must still work after each of the
;; others was run in the same process.
(import "guardian:playbook/service@0.1.0" "status" (func $status (param i32 i32 i32)))
(import "guardian:playbook/probe@0.1.0" "run" (func $probe (param i32 i32 i32)))
(data (i32.const 16) "web")
(data (i32.const 32) "service.web")
(func $remediate (type $remediate)
  (call $status (i32.const 16) (i32.const 3) (i32.const 2048))
  ;; An error is its own answer: trap, so that the test sees it.
  (if (i32.load8_u (i32.const 2048)) (then unreachable))
  (call $probe (i32.const 32) (i32.const 11) (i32.const 2048))
  (if (i32.load8_u (i32.const 2048)) (then unreachable))
  (i32.const 1024))
