# Bars of the ratio of the patched to the stock kernel; their color is the
# result.
# Variables of bench/report: terminal, output, rows, data, low, high, bars.

load bars
set title "Instructions, patched to stock"
set xlabel "patched / stock; dashed: 1.02"
set key off
set rmargin 9
set xrange [low : high]
set arrow from 1, graph 0 to 1, graph 1 nohead lc rgb "#303030" front
set arrow from 1.02, graph 0 to 1.02, graph 1 nohead dt 2 lc rgb "#c02020" front
plot data using 3:0:(1):3:($0 - 0.35):($0 + 0.35):6:ytic(1) with boxxyerror lc rgb variable, \
     "" using (high):0:(sprintf("%.3f", $3)) with labels offset 1 left font ",8"
