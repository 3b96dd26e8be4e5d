# The common part of ratio.gnuplot and cost.gnuplot: a row for each workload.
# Variables of bench/report: terminal, output, rows.

height = 160 + 17 * rows
set terminal @terminal noenhanced size 1150,height font "Sans,10" background "#ffffff"
set output output
set datafile separator "\t"
set style fill solid noborder
set grid x lc rgb "#d0d0d0"
set border 3 lc rgb "#606060"
set tics nomirror out
set yrange [rows - 0.3 : -0.7]
set ytics font ",9"
set lmargin 62
