// Command flux-health says what Flux makes of objects by health check expressions: it reads the
// expressions, one JSON object with the fields of Flux' healthCheckExprs, from the file named by its
// argument, JSON objects from standard input, and writes one line of JSON for each of these.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log"
	"os"

	"github.com/fluxcd/pkg/apis/kustomize"
	"github.com/fluxcd/pkg/runtime/cel"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// verdict is one answer. Flux gives no message.
type verdict struct {
	Status  string `json:"status"`
	Message string `json:"message"`
}

func main() {
	log.SetFlags(0)
	if len(os.Args) != 2 {
		log.Fatal("name the file with the expressions")
	}
	written, err := os.ReadFile(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	var expressions kustomize.HealthCheckExpressions
	if err := json.Unmarshal(written, &expressions); err != nil {
		log.Fatalf("%s holds no expressions: %v", os.Args[1], err)
	}
	evaluator, err := cel.NewStatusEvaluator(&expressions)
	if err != nil {
		log.Fatal(err)
	}
	input, output := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	for {
		object := &unstructured.Unstructured{}
		if err := input.Decode(object); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			log.Fatalf("standard input is not a sequence of Kubernetes objects: %v", err)
		}
		result, err := evaluator.Evaluate(context.Background(), object)
		if err != nil {
			log.Fatalf("the expressions failed: %v", err)
		}
		if err := output.Encode(verdict{string(result.Status), result.Message}); err != nil {
			log.Fatal(err)
		}
	}
}
