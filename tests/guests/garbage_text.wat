;; Answers with a summary that is not text.
(data (i32.const 16) "\ff\fe\fd")
(func $remediate (type $remediate)
  (i32.store (i32.const 1032) (i32.const 16))
  (i32.store (i32.const 1036) (i32.const 3))
  (i32.const 1024))
