# Prints the function "name" of a C file in kernel style.

!inside && /^[a-z]/ && index($0, name "(") { inside = 1; text = "" }
inside { text = text $0 "\n" }
inside && /;$/ && !body { inside = 0 }
inside && /^{/ { body = 1 }
inside && body && /^}/ { printf "%s", text; exit }
