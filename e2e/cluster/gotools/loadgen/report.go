package main

import (
	"crypto/tls"
	"math"
	"slices"
	"sync"
	"time"
)

// maxExamples bounds how many failures are told in full.
const maxExamples = 10

// report is the result that is printed. Latencies are in milliseconds, from a request's place in the schedule.
type report struct {
	Requests       int            `json:"requests"`
	Failed         int            `json:"failed"`
	NewConnections int            `json:"newConnections"`
	Seconds        float64        `json:"seconds"`
	Rate           float64        `json:"rate"`
	MaxInFlight    int            `json:"maxInFlight"`
	Codes          map[string]int `json:"codes"`
	// Answers counts what succeeded by the names of --answer.
	Answers   map[string]int     `json:"answers"`
	Failures  map[string]int     `json:"failures"`
	Examples  []example          `json:"examples"`
	LatencyMs map[string]float64 `json:"latencyMs"`
	// LatencyMsByCode tells how long each kind of answer took: a refusal should come at once.
	LatencyMsByCode map[string]map[string]float64 `json:"latencyMsByCode"`
	// SettledMsByCode tells the same of requests that were due after --settle.
	SettledMsByCode map[string]map[string]float64 `json:"settledMsByCode,omitempty"`
	// Certificates counts TLS handshakes by the serial number of the server's certificate.
	Certificates map[string]int `json:"certificates"`

	mutex     sync.Mutex
	start     time.Time
	inFlight  int
	latencies []float64
	byCode    map[string][]float64
	settled   map[string][]float64
	settle    time.Duration
	handshake *handshakes
}

// example tells one failure in full; At is in seconds since the start.
type example struct {
	At     float64 `json:"at"`
	Kind   string  `json:"kind"`
	Detail string  `json:"detail"`
	Fresh  bool    `json:"fresh"`
}

func newReport(c *config) *report {
	return &report{
		Codes:           map[string]int{},
		Answers:         map[string]int{},
		Failures:        map[string]int{},
		Examples:        []example{},
		LatencyMs:       map[string]float64{},
		LatencyMsByCode: map[string]map[string]float64{},
		SettledMsByCode: map[string]map[string]float64{},
		byCode:          map[string][]float64{},
		settled:         map[string][]float64{},
		settle:          c.settle,
		start:           time.Now(),
		handshake:       c.handshake,
	}
}

func (r *report) began() {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.Requests++
	r.inFlight++
	r.MaxInFlight = max(r.MaxInFlight, r.inFlight)
}

func (r *report) ended(result outcome, due time.Time, fresh bool) {
	now := time.Now()
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.inFlight--
	if fresh {
		r.NewConnections++
	}
	if result.code != "" {
		r.Codes[result.code]++
	}
	latency := now.Sub(due).Seconds() * 1000
	r.latencies = append(r.latencies, latency)
	if result.code != "" {
		r.byCode[result.code] = append(r.byCode[result.code], latency)
		if r.settle > 0 && due.Sub(r.start) >= r.settle {
			r.settled[result.code] = append(r.settled[result.code], latency)
		}
	}
	if result.kind == "" {
		r.Answers[result.who]++
		return
	}
	r.Failed++
	r.Failures[result.kind]++
	if len(r.Examples) < maxExamples {
		r.Examples = append(r.Examples, example{round(now.Sub(r.start).Seconds()), result.kind, result.detail, fresh})
	}
}

func (r *report) close(took time.Duration) *report {
	r.Seconds = round(took.Seconds())
	r.Rate = round(float64(r.Requests) / took.Seconds())
	r.Certificates = r.handshake.counts()
	r.LatencyMs = shares(r.latencies)
	for code, latencies := range r.byCode {
		r.LatencyMsByCode[code] = shares(latencies)
	}
	for code, latencies := range r.settled {
		r.SettledMsByCode[code] = shares(latencies)
	}
	return r
}

// shares sorts the latencies and picks what is usually asked of them.
func shares(latencies []float64) map[string]float64 {
	slices.Sort(latencies)
	found := map[string]float64{}
	for name, share := range map[string]float64{"p50": 0.5, "p90": 0.9, "p99": 0.99, "p999": 0.999, "max": 1} {
		if count := len(latencies); count > 0 {
			found[name] = round(latencies[max(int(math.Ceil(share*float64(count)))-1, 0)])
		}
	}
	return found
}

func round(value float64) float64 {
	return math.Round(value*1000) / 1000
}

// handshakes counts which certificates the server has shown.
type handshakes struct {
	mutex sync.Mutex
	seen  map[string]int
}

func (h *handshakes) record(state tls.ConnectionState) error {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	h.seen[state.PeerCertificates[0].SerialNumber.Text(16)]++
	return nil
}

func (h *handshakes) counts() map[string]int {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	return h.seen
}
