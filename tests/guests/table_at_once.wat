;; Wants more table elements than it gets before its first instruction.
(table $elements 20000 funcref)
(func $remediate (type $remediate) (i32.const 1024))
