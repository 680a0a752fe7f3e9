package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// httpLoad reads the flags of `loadgen http` and returns what sends one POST.
func httpLoad(arguments []string) (*config, attempt) {
	flags := flag.NewFlagSet("http", flag.ExitOnError)
	complete := sharedFlags(flags)
	url := flags.String("url", "", "where to POST to")
	contentType := flags.String("content-type", "application/json", "content type of the body")
	idle := flags.Int("keep-alive", 256, "idle connections that are kept for the next request")
	parse(flags, arguments)
	c := complete()
	if *url == "" {
		usage("--url is missing")
	}
	kept := transport(c, *idle, false)
	single := transport(c, 0, true)
	return c, func(ctx context.Context, fresh bool) outcome {
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, *url, bytes.NewReader(c.body))
		if err != nil {
			return outcome{kind: "request", detail: err.Error()}
		}
		// Without it the transport cannot send the body a second time, and so repeats nothing by itself.
		request.GetBody = nil
		request.Header.Set("Content-Type", *contentType)
		request.Host = c.host // empty: that of the URL
		for name, value := range c.headers {
			request.Header.Set(name, value)
		}
		through := kept
		if fresh {
			through = single
		}
		answer, err := through.RoundTrip(request)
		if err != nil {
			return outcome{kind: networkKind(err), detail: err.Error()}
		}
		defer answer.Body.Close()
		text, err := io.ReadAll(answer.Body)
		code := strconv.Itoa(answer.StatusCode)
		switch {
		case err != nil:
			return outcome{code: code, kind: "body: " + networkKind(err), detail: err.Error()}
		case answer.StatusCode != http.StatusOK:
			return outcome{code: code, kind: "status " + code, detail: clip(string(text))}
		case c.expect != "" && !strings.Contains(string(text), c.expect):
			return outcome{code: code, kind: "wrong answer", detail: clip(string(text))}
		}
		return outcome{code: code, who: c.who(text)}
	}
}

func transport(c *config, idle int, single bool) *http.Transport {
	dialer := net.Dialer{Timeout: 5 * time.Second}
	return &http.Transport{
		DialContext:         dialer.DialContext,
		TLSClientConfig:     c.tls,
		TLSHandshakeTimeout: 5 * time.Second,
		DisableKeepAlives:   single,
		DisableCompression:  true,
		MaxIdleConnsPerHost: max(idle, 1),
		IdleConnTimeout:     time.Minute,
		// HTTP/1.1 only: that is what the server speaks.
		TLSNextProto: map[string]func(string, *tls.Conn) http.RoundTripper{},
	}
}

// networkKind names what went wrong below HTTP.
func networkKind(err error) string {
	var handshake *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	var alert tls.AlertError
	var address *net.DNSError
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	case errors.As(err, &address):
		return "name not resolved"
	case errors.As(err, &handshake), errors.As(err, &record), errors.As(err, &alert):
		return "TLS handshake"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(err, syscall.ECONNRESET):
		return "connection reset"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "connection closed before the answer"
	case strings.Contains(err.Error(), "server closed idle connection"):
		return "connection closed before the answer"
	}
	return fmt.Sprintf("%T", err)
}

func clip(text string) string {
	return text[:min(len(text), 300)]
}
