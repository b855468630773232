;; Never returns, never calls.
(func $remediate (type $remediate) (loop $again (br $again)) unreachable)
