;; Takes a thousand table elements after another.
(table $elements 1 funcref)
(func $remediate (type $remediate)
  (loop $more (drop (table.grow $elements (ref.null func) (i32.const 1000))) (br $more))
  unreachable)
