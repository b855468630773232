;; Logs short lines without end.
(import "guardian:playbook/log@0.1.0" "write" (func $write (param i32 i32 i32 i32)))
(func $remediate (type $remediate)
  (loop $more (call $write (i32.const 1) (i32.const 16) (i32.const 4) (i32.const 2048)) (br $more))
  unreachable)
