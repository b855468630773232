;; Answers with a summary of one MiB.
(func $remediate (type $remediate)
  (drop (memory.grow (i32.const 64)))
  (memory.fill (i32.const 65536) (i32.const 97) (i32.const 1048576))
  (i32.store (i32.const 1032) (i32.const 65536))
  (i32.store (i32.const 1036) (i32.const 1048576))
  (i32.const 1024))
