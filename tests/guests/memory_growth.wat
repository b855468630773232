;; Takes one MiB after another, and would go on for ever if it were told "no" politely.
(func $remediate (type $remediate)
  (loop $more (drop (memory.grow (i32.const 16))) (br $more))
  unreachable)
