;; Names a service in one MiB; returns only if it was told `invalid`.
(import "guardian:playbook/service@0.1.0" "status" (func $status (param i32 i32 i32)))
(func $remediate (type $remediate)
  (drop (memory.grow (i32.const 64)))
  (memory.fill (i32.const 65536) (i32.const 97) (i32.const 1048576))
  (call $status (i32.const 65536) (i32.const 1048576) (i32.const 2048))
  ;; 1 says error; the code's length is at 12 of it ("invalid" has seven letters).
  (if (i32.ne (i32.load8_u (i32.const 2048)) (i32.const 1)) (then unreachable))
  (if (i32.ne (i32.load (i32.const 2060)) (i32.const 7)) (then unreachable))
  (i32.const 1024))
