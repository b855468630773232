;; Never finishes being instantiated.
(func $spin (loop $again (br $again)))
(start $spin)
(func $remediate (type $remediate) (i32.const 1024))
