package drawing

import (
	"cmp"
	"slices"
)

// Sizes in user units of SVG, which are pixels at first.
const (
	charWidth  = 7.3
	lineHeight = 15.0
	padding    = 8.0
	gapAcross  = 90.0 // between layers, for the lines and their labels
	gapDown    = 14.0
	maxChars   = 46
)

// spot is where a box, or a bend of a line, lies.
type spot struct {
	layer      int
	x, y, w, h float64 // of the upper left corner
	box        int     // -1 for a bend
	back       []int   // spots in the layer before that lead here
	next       []int
}

// layout is a picture with places: layers from left to right, so that each line
// that is no part of a cycle goes to the right.
type layout struct {
	*picture
	spots         []spot // the boxes first, then the bends
	layers        [][]int
	paths         [][]int // of each line: the spots that it goes through
	width, height float64
}

// arrange finds places: layers by the longest way, bends for lines that pass a
// layer, an order with few crossings by the mean of the neighbours, and then heights
// near the neighbours' (Sugiyama, Tagawa and Toda 1981).
func arrange(p *picture) *layout {
	l := &layout{picture: p, spots: make([]spot, len(p.boxes)), paths: make([][]int, len(p.lines))}
	for i := range p.boxes {
		l.spots[i].box = i
		l.spots[i].w, l.spots[i].h = p.boxes[i].size()
	}
	reversed := l.reversed()
	l.rank(reversed)
	l.bend(reversed)
	l.order()
	l.place()
	return l
}

func (b *box) size() (w, h float64) {
	longest := 0
	for _, s := range b.label {
		longest = max(longest, min(maxChars, len([]rune(s))))
	}
	return float64(longest)*charWidth + 2*padding, float64(len(b.label))*lineHeight + 2*padding
}

// reversed are the lines to be seen the other way round so that there is no cycle:
// those that lead back to a box on the way to them, depth first.
func (l *layout) reversed() []bool {
	out := make([][]int, len(l.boxes))
	for i := range l.lines {
		out[l.lines[i].from] = append(out[l.lines[i].from], i)
	}
	const (
		unseen = iota
		open
		closed
	)
	state, next := make([]int, len(l.boxes)), make([]int, len(l.boxes))
	reversed := make([]bool, len(l.lines))
	for start := range l.boxes {
		if state[start] != unseen {
			continue
		}
		path := []int{start}
		state[start] = open
		for len(path) > 0 {
			n := path[len(path)-1]
			if next[n] == len(out[n]) {
				state[n] = closed
				path = path[:len(path)-1]
				continue
			}
			i := out[n][next[n]]
			next[n]++
			switch to := l.lines[i].to; state[to] {
			case open:
				reversed[i] = true
			case unseen:
				state[to] = open
				path = append(path, to)
			}
		}
	}
	return reversed
}

// ends are the ends of a line, the left one first.
func (l *layout) ends(i int, reversed []bool) (from, to int) {
	if reversed[i] {
		return l.lines[i].to, l.lines[i].from
	}
	return l.lines[i].from, l.lines[i].to
}

// rank gives each box the layer behind all that lead to it; then boxes that nothing
// leads to are moved next to what they lead to.
func (l *layout) rank(reversed []bool) {
	in := make([]int, len(l.boxes))
	out := make([][]int, len(l.boxes))
	for i := range l.lines {
		from, to := l.ends(i, reversed)
		in[to]++
		out[from] = append(out[from], to)
	}
	first := slices.Clone(in)
	var queue []int
	for i := range in {
		if in[i] == 0 {
			queue = append(queue, i)
		}
	}
	for i := 0; i < len(queue); i++ {
		n := queue[i]
		for _, to := range out[n] {
			l.spots[to].layer = max(l.spots[to].layer, l.spots[n].layer+1)
			if in[to]--; in[to] == 0 {
				queue = append(queue, to)
			}
		}
	}
	for i := range l.boxes {
		if first[i] > 0 || len(out[i]) == 0 {
			continue
		}
		nearest := l.spots[out[i][0]].layer
		for _, to := range out[i] {
			nearest = min(nearest, l.spots[to].layer)
		}
		l.spots[i].layer = nearest - 1
	}
}

// maxBends bounds the bends: lines beyond them are drawn straight.
const maxBends = 20000

// bend gives lines that pass a layer a bend there.
func (l *layout) bend(reversed []bool) {
	for i := range l.lines {
		from, to := l.ends(i, reversed)
		path := []int{from}
		for layer := l.spots[from].layer + 1; layer < l.spots[to].layer && len(l.spots) < len(l.boxes)+maxBends; layer++ {
			l.spots = append(l.spots, spot{layer: layer, box: -1, h: lineHeight})
			path = append(path, len(l.spots)-1)
		}
		path = append(path, to)
		for j := range path[1:] {
			a, b := path[j], path[j+1]
			l.spots[a].next, l.spots[b].back = append(l.spots[a].next, b), append(l.spots[b].back, a)
		}
		if reversed[i] {
			slices.Reverse(path)
		}
		l.paths[i] = path
	}
	for i := range l.spots {
		for len(l.layers) <= l.spots[i].layer {
			l.layers = append(l.layers, nil)
		}
		l.layers[l.spots[i].layer] = append(l.layers[l.spots[i].layer], i)
	}
}

const sweeps = 12

// order sorts each layer by the mean place of the neighbours, to the right and back
// again; what hangs together stays together.
func (l *layout) order() {
	place := make([]float64, len(l.spots))
	number := func(layer []int) {
		for i, s := range layer {
			place[s] = float64(i)
		}
	}
	group := l.together()
	for _, layer := range l.layers {
		number(layer)
	}
	for sweep := range sweeps {
		for i := range l.layers {
			layer := l.layers[i]
			if sweep%2 == 1 {
				layer = l.layers[len(l.layers)-1-i]
			}
			mean := make(map[int]float64, len(layer))
			for _, s := range layer {
				neighbours := l.spots[s].back
				if sweep%2 == 1 {
					neighbours = l.spots[s].next
				}
				mean[s] = place[s]
				if len(neighbours) > 0 {
					mean[s] = average(neighbours, place)
				}
			}
			slices.SortStableFunc(layer, func(a, b int) int { return cmp.Or(group[a]-group[b], cmp.Compare(mean[a], mean[b])) })
			number(layer)
		}
	}
}

func average(list []int, of []float64) float64 {
	sum := 0.0
	for _, s := range list {
		sum += of[s]
	}
	return sum / float64(len(list))
}

// together sorts the layers so that what hangs together lies together, and numbers
// what does.
func (l *layout) together() (group []int) {
	group = make([]int, len(l.spots))
	count := 0
	for start := range l.spots {
		if group[start] != 0 {
			continue
		}
		count++
		group[start] = count
		queue := []int{start}
		for i := 0; i < len(queue); i++ {
			for _, list := range [][]int{l.spots[queue[i]].next, l.spots[queue[i]].back} {
				for _, s := range list {
					if group[s] == 0 {
						group[s] = count
						queue = append(queue, s)
					}
				}
			}
		}
	}
	for _, layer := range l.layers {
		slices.SortStableFunc(layer, func(a, b int) int { return group[a] - group[b] })
	}
	return group
}

// place gives each spot its coordinates: heights near the mean of the neighbours', in
// the layer's order and without touching.
func (l *layout) place() {
	x := 0.0
	for _, layer := range l.layers {
		widest, y := 0.0, 0.0
		for _, s := range layer {
			widest = max(widest, l.spots[s].w)
		}
		for _, s := range layer {
			l.spots[s].x, l.spots[s].y = x+(widest-l.spots[s].w)/2, y
			y += l.spots[s].h + gapDown
		}
		x += widest + gapAcross
	}
	l.width = max(0, x-gapAcross)
	for sweep := range sweeps {
		for i := range l.layers {
			layer := l.layers[i]
			if sweep%2 == 1 {
				layer = l.layers[len(l.layers)-1-i]
			}
			l.settle(layer)
		}
	}
	lowest := 0.0
	for i := range l.spots {
		lowest = min(lowest, l.spots[i].y)
	}
	for i := range l.spots {
		l.spots[i].y -= lowest
		l.height = max(l.height, l.spots[i].y+l.spots[i].h)
	}
}

// settle moves the spots of a layer to where their neighbours are. Spots that would
// touch move together, to the mean of where they want to be.
func (l *layout) settle(layer []int) {
	type block struct {
		first, last int
		at, height  float64 // where its upper edge is, and how high it is
		wish        float64 // sum of where its spots want its upper edge to be
	}
	var blocks []block
	for i, s := range layer {
		wish, n := 0.0, 0
		for _, list := range [][]int{l.spots[s].back, l.spots[s].next} {
			for _, o := range list {
				wish += l.spots[o].y + l.spots[o].h/2
				n++
			}
		}
		at := l.spots[s].y
		if n > 0 {
			at = wish/float64(n) - l.spots[s].h/2
		}
		b := block{i, i, at, l.spots[s].h, at}
		for len(blocks) > 0 {
			above := &blocks[len(blocks)-1]
			if above.at+above.height+gapDown <= b.at {
				break
			}
			offset := above.height + gapDown
			b.wish = above.wish + b.wish - float64(b.last-b.first+1)*offset
			b.first, b.height = above.first, offset+b.height
			b.at = b.wish / float64(b.last-b.first+1)
			blocks = blocks[:len(blocks)-1]
		}
		blocks = append(blocks, b)
	}
	for _, b := range blocks {
		y := b.at
		for _, s := range layer[b.first : b.last+1] {
			l.spots[s].y = y
			y += l.spots[s].h + gapDown
		}
	}
}
