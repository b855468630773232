;; Asks the same thing a million times, whatever the answer.
(import "guardian:playbook/service@0.1.0" "status" (func $status (param i32 i32 i32)))
(data (i32.const 16) "web")
(func $remediate (type $remediate)
  (local $left i32)
  (local.set $left (i32.const 1000000))
  (loop $more
    ;; The host's answers are put where $realloc says; start over, or the memory would end first.
    (global.set $free (i32.const 8192))
    (call $status (i32.const 16) (i32.const 3) (i32.const 2048))
    (br_if $more (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
  (i32.const 1024))
