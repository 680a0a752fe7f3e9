// Command kstatus says what the library behind Flux, kpt and cli-utils makes of objects: it reads
// JSON objects from standard input and writes one line of JSON for each.
package main

import (
	"encoding/json"
	"errors"
	"io"
	"log"
	"os"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
)

// verdict is one answer; its fields are those of the library's result.
type verdict struct {
	Status  string `json:"status"`
	Message string `json:"message"`
}

func main() {
	log.SetFlags(0)
	input, output := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	for {
		var object map[string]any
		if err := input.Decode(&object); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			log.Fatalf("standard input is not a sequence of JSON objects: %v", err)
		}
		result, err := status.Compute(&unstructured.Unstructured{Object: numbers(object).(map[string]any)})
		if err != nil {
			log.Fatalf("kstatus failed: %v", err)
		}
		if err := output.Encode(verdict{string(result.Status), result.Message}); err != nil {
			log.Fatal(err)
		}
	}
}

// numbers gives whole numbers the type int64, as the library expects of objects that a client read.
func numbers(value any) any {
	switch typed := value.(type) {
	case map[string]any:
		for key, inner := range typed {
			typed[key] = numbers(inner)
		}
	case []any:
		for index, inner := range typed {
			typed[index] = numbers(inner)
		}
	case float64:
		if whole := int64(typed); float64(whole) == typed {
			return whole
		}
	}
	return value
}
