# Curves of the cost of a page by the length of the range.
# Variables of bench/report: terminal, output, curves.

set terminal @terminal noenhanced size 900,520 font "Sans,10" background "#ffffff"
set output output
set datafile separator "\t"
set grid lc rgb "#d0d0d0"
set border 3 lc rgb "#606060"
set tics nomirror out
set key top right
set logscale x 2
set logscale y
set xrange [0.9 : 570]
set title "Instructions per page by the length of the range, excluding the copy"
set xlabel "pages of 4 KiB in one call"
set ylabel "instructions per page"
plot @curves
