package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// grpcLoad reads the flags of `loadgen grpc` and returns what makes one unary call.
func grpcLoad(arguments []string) (*config, attempt) {
	flags := flag.NewFlagSet("grpc", flag.ExitOnError)
	complete := sharedFlags(flags)
	target := flags.String("target", "", "host:port")
	method := flags.String("method", "", "full name of the unary method, such as /package.Service/Method")
	connections := flags.Int("connections", 4, "connections that are kept open")
	parse(flags, arguments)
	c := complete()
	if *target == "" || *method == "" {
		usage("--target and --method are needed")
	}
	// The passthrough resolver leaves the name to the dialer, which asks the DNS anew for each connection.
	dial := func() (*grpc.ClientConn, error) {
		secure := insecure.NewCredentials()
		if c.tls != nil {
			secure = credentials.NewTLS(c.tls.Clone())
		}
		options := []grpc.DialOption{grpc.WithTransportCredentials(secure), grpc.WithDisableRetry()}
		if c.host != "" {
			options = append(options, grpc.WithAuthority(c.host))
		}
		return grpc.NewClient("passthrough:///"+*target, options...)
	}
	kept := make([]*grpc.ClientConn, *connections)
	for n := range kept {
		connection, err := dial()
		if err != nil {
			usage(err.Error())
		}
		kept[n] = connection
	}
	var turn atomic.Uint64
	return c, func(ctx context.Context, fresh bool) outcome {
		connection := kept[turn.Add(1)%uint64(len(kept))]
		if fresh {
			own, err := dial()
			if err != nil {
				return outcome{kind: "dial", detail: err.Error()}
			}
			defer own.Close()
			connection = own
		}
		var answer []byte
		ctx = metadata.NewOutgoingContext(ctx, metadata.New(c.headers))
		err := connection.Invoke(ctx, *method, c.body, &answer, grpc.ForceCodecV2(rawCodec{}))
		code := status.Code(err).String()
		switch {
		case err != nil && status.Code(err) == codes.DeadlineExceeded:
			return outcome{code: code, kind: "timeout", detail: err.Error()}
		case err != nil:
			return outcome{code: code, kind: "status " + code, detail: clip(err.Error())}
		case c.expect != "" && !bytes.Contains(answer, []byte(c.expect)):
			return outcome{code: code, kind: "wrong answer", detail: clip(fmt.Sprintf("%q", answer))}
		}
		return outcome{code: code, who: c.who(answer)}
	}
}

// rawCodec sends and receives messages that are encoded already.
type rawCodec struct{}

var _ encoding.CodecV2 = rawCodec{}

func (rawCodec) Name() string { return "proto" }

func (rawCodec) Marshal(message any) (mem.BufferSlice, error) {
	encoded, ok := message.([]byte)
	if !ok {
		return nil, fmt.Errorf("cannot send a %T", message)
	}
	return mem.BufferSlice{mem.SliceBuffer(encoded)}, nil
}

func (rawCodec) Unmarshal(received mem.BufferSlice, message any) error {
	target, ok := message.(*[]byte)
	if !ok {
		return fmt.Errorf("cannot receive into a %T", message)
	}
	*target = received.Materialize()
	return nil
}
