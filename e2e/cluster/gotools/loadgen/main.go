// Loadgen sends requests at a fixed rate, whatever the answers do, and counts every failure.
//
// The schedule is open-loop: request n leaves at n/rate seconds after the start, and its latency counts from there, so
// that a slow server cannot slow the load down and hide itself. Nothing is retried. SIGINT or SIGTERM ends the
// schedule; requests in flight are waited for; one JSON object with the result goes to standard output.
//
//	loadgen http --url https://iris-predictor/v2/models/iris/infer --body '{...}' --ca /certs/ca.crt --rate 200 --duration 60s
//	loadgen grpc --target iris-predictor:8081 --method /inference.GRPCInferenceService/ModelInfer --body-base64 ... --rate 200
//
// Answers that hold other bytes are told apart by --answer NAME=BASE64; the result counts each name, and with "" those
// that hold none of them.
//
// The exit status is 0 where nothing failed, 1 where something did, 2 for wrong usage.
package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"
)

// attempt makes one request. Fresh asks for a connection of its own, which is closed after the answer.
type attempt func(ctx context.Context, fresh bool) outcome

// outcome is what one request came to; kind is empty for a success.
type outcome struct {
	code   string // the protocol's own: "200", "UNAVAILABLE"
	who    string // which of the answers that are told apart it is
	kind   string // what went wrong, short enough to be counted by
	detail string // what went wrong, in full
}

// config is what both protocols share.
type config struct {
	rate      float64
	duration  time.Duration
	requests  int
	timeout   time.Duration
	settle    time.Duration
	fresh     int
	body      []byte
	expect    string
	host      string
	headers   map[string]string
	answers   map[string][]byte
	tls       *tls.Config
	handshake *handshakes
}

func main() {
	if len(os.Args) < 2 {
		usage("name the protocol: http or grpc")
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	var send attempt
	var c *config
	switch protocol := os.Args[1]; protocol {
	case "http":
		c, send = httpLoad(os.Args[2:])
	case "grpc":
		c, send = grpcLoad(os.Args[2:])
	default:
		usage("unknown protocol " + protocol + ": http or grpc")
	}
	report := run(ctx, c, send)
	encoder := json.NewEncoder(os.Stdout)
	if err := encoder.Encode(report); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	if report.Failed > 0 {
		os.Exit(1)
	}
}

// run keeps the schedule until it is over or ctx ends, then waits for what is in flight.
func run(ctx context.Context, c *config, send attempt) *report {
	r := newReport(c)
	var inFlight sync.WaitGroup
	interval := time.Duration(float64(time.Second) / c.rate)
	start := time.Now()
	for n := 0; c.requests == 0 || n < c.requests; n++ {
		due := start.Add(time.Duration(n) * interval)
		if c.duration > 0 && due.Sub(start) >= c.duration {
			break
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Until(due)):
		}
		if ctx.Err() != nil {
			break
		}
		fresh := n*c.fresh%100 < c.fresh // spread evenly
		inFlight.Add(1)
		r.began()
		go func() {
			defer inFlight.Done()
			// A request that has left is finished even when the schedule was stopped: cutting it would count as a failure.
			own, cancel := context.WithDeadline(context.Background(), due.Add(c.timeout))
			defer cancel()
			result := send(own, fresh)
			r.ended(result, due, fresh)
		}()
	}
	inFlight.Wait()
	return r.close(time.Since(start))
}

// sharedFlags declares what both protocols take; the returned function completes the config after parsing.
func sharedFlags(flags *flag.FlagSet) func() *config {
	c := &config{headers: map[string]string{}, answers: map[string][]byte{}}
	var body, body64, ca, cert, key, name string
	flags.Float64Var(&c.rate, "rate", 200, "requests a second")
	flags.DurationVar(&c.duration, "duration", 0, "how long; 0: until --requests or a signal")
	flags.IntVar(&c.requests, "requests", 0, "how many; 0: until --duration or a signal")
	flags.DurationVar(&c.timeout, "timeout", 10*time.Second, "when a request has failed, from its place in the schedule")
	flags.DurationVar(&c.settle, "settle", 0, "latencies of what is due later are told by themselves as well")
	flags.IntVar(&c.fresh, "fresh", 20, "of a hundred requests, how many use a new connection")
	flags.StringVar(&body, "body", "", "the body as text")
	flags.StringVar(&body64, "body-base64", "", "the body in base64")
	flags.StringVar(&c.expect, "expect", "", "text that each answer must hold")
	flags.StringVar(&c.host, "host", "", "host that is asked for; by default the one that is connected to")
	flags.Func("header", "NAME=VALUE that each request carries; may be repeated", func(given string) error {
		name, value, found := strings.Cut(given, "=")
		if !found || name == "" {
			return fmt.Errorf("%q is not NAME=VALUE", given)
		}
		c.headers[name] = value
		return nil
	})
	flags.Func("answer", "NAME=BASE64 of bytes that some answers hold; may be repeated", func(given string) error {
		name, encoded, _ := strings.Cut(given, "=")
		part, err := base64.StdEncoding.DecodeString(encoded)
		if err != nil || name == "" || len(part) == 0 {
			return fmt.Errorf("%q is not NAME=BASE64", given)
		}
		c.answers[name] = part
		return nil
	})
	flags.StringVar(&ca, "ca", "", "file of CA certificates; TLS is used where set")
	flags.StringVar(&cert, "cert", "", "file of the client certificate")
	flags.StringVar(&key, "key", "", "file of the client certificate's key")
	flags.StringVar(&name, "server-name", "", "name that the server's certificate must have; by default --host, or what is connected to")
	return func() *config {
		c.body = []byte(body)
		if body64 != "" {
			decoded, err := base64.StdEncoding.DecodeString(body64)
			if err != nil {
				usage("--body-base64: " + err.Error())
			}
			c.body = decoded
		}
		if c.rate <= 0 {
			usage("--rate must be more than 0")
		}
		c.handshake = &handshakes{seen: map[string]int{}}
		if name == "" {
			name = c.host
		}
		if ca != "" {
			c.tls = clientTLS(ca, cert, key, name, c.handshake)
		}
		return c
	}
}

func clientTLS(ca, cert, key, name string, seen *handshakes) *tls.Config {
	text, err := os.ReadFile(ca)
	if err != nil {
		usage("--ca: " + err.Error())
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		usage("--ca: " + ca + " holds no certificate")
	}
	made := &tls.Config{RootCAs: pool, ServerName: name, VerifyConnection: seen.record}
	if cert != "" || key != "" {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			usage("--cert and --key: " + err.Error())
		}
		made.Certificates = []tls.Certificate{pair}
	}
	return made
}

// who returns the name of the answer that the bytes are; empty where they are none of them.
func (c *config) who(answer []byte) string {
	for name, part := range c.answers {
		if bytes.Contains(answer, part) {
			return name
		}
	}
	return ""
}

func parse(flags *flag.FlagSet, arguments []string) {
	// The flag set exits by itself on an error.
	_ = flags.Parse(arguments)
	if rest := flags.Args(); len(rest) > 0 {
		usage("unknown arguments: " + strings.Join(rest, " "))
	}
}

func usage(problem string) {
	fmt.Fprintln(os.Stderr, "loadgen: "+problem)
	os.Exit(2)
}
