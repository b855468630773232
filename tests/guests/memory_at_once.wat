;; Wants more than it gets before its first instruction.
(memory $big 65535)
(func $remediate (type $remediate) (i32.const 1024))
