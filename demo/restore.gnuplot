# Plots how the pages of a restored guest were filled over time:
#
#	gnuplot -c demo/restore.gnuplot TERMINAL OUTPUT TRACE
#
# TRACE is written by vmm restore --trace.

set terminal @ARG1 size 900,500 background "#ffffff"
set output ARG2
set title "Pages of a guest in guest\\_memfd, restored with MINOR faults"
set xlabel "milliseconds since the start of the handler"
set ylabel "pages of 4 KiB"
set key left top
set grid lc rgb "#d0d0d0"
set border 3
set tics nomirror out
plot ARG3 using ($1 / 1e3):($2 + $3) with filledcurves x1 lc rgb "#9098a8" title "in the background", \
     "" using ($1 / 1e3):2 with filledcurves x1 lc rgb "#2060a0" title "on demand"
