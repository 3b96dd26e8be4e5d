/*
 * How the lines of a kernel message begin that are not worth reporting:
 * registers, code bytes, unreliable stack entries. One per line: lab/init.c
 * includes this file, and lab/boot reads it.
 */
"Modules linked in:",
"Hardware name:",
"Code: ",
"RSP: ",
"RAX: ",
"RDX: ",
"RBP: ",
"R10: ",
"R13: ",
"FS: ",
"CS: ",
"CR2: ",
"DR0: ",
"DR3: ",
"PKRU: ",
"? ",
