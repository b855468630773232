;; Waits in the host again and again.
(import "guardian:playbook/clock@0.1.0" "sleep" (func $sleep (param i64 i32)))
(func $remediate (type $remediate)
  (loop $more (call $sleep (i64.const 400) (i32.const 2048)) (br $more))
  unreachable)
