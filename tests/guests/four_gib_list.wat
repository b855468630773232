;; Reports 268,435,455 pairs of strings, 4 GiB of them, in a memory of 64 KiB.
(func $remediate (type $remediate)
  (i32.store (i32.const 1040) (i32.const 0))
  (i32.store (i32.const 1044) (i32.const 0x0fffffff))
  (i32.const 1024))
