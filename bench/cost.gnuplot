# Two bars for each workload: instructions on the stock and the patched kernel.
# Variables of bench/report: terminal, output, rows, data, bars.

load bars
set title "Instructions per unit"
set xlabel "instructions for a page, a fault or a call"
set logscale x
set xrange [10 : *]
set format x "%.0f"
set key top right
plot data using (10):0:(10):4:($0 - 0.4):($0):ytic(1) with boxxyerror lc rgb "#9098a8" title "stock", \
     "" using (10):0:(10):5:($0):($0 + 0.4) with boxxyerror lc rgb "#2060a0" title "patched", \
     "" using ($5 * 1.1):0:(sprintf("%.0f", $5)) with labels left font ",8" notitle
