// Two losses with Go's standard library: as JSON, and as binary tensors in safetensors bodies; answered in JSON.
package main

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"os"
	"strings"
)

func post(name, format string, parts ...any) {
	url := append(strings.Fields(os.Getenv("LOSSMETER_URL")), "http://127.0.0.1:8000")[0]
	mediaType := map[string]string{"json": "application/json", "safetensors": "application/x-safetensors"}[format]
	var body strings.Builder
	for _, part := range parts {
		binary.Write(&body, binary.LittleEndian, part)
	}
	response, err := http.Post(url+"/v1/losses/"+name, mediaType, strings.NewReader(body.String()))
	var answer struct{ Loss, Detail any }
	if err != nil {
		log.Fatal(err)
	} else if json.NewDecoder(response.Body).Decode(&answer); response.StatusCode != http.StatusOK {
		log.Fatal(answer.Detail)
	}
	response.Body.Close()
	fmt.Printf("%s %s %.6f\n", name, format, answer.Loss)
}

func main() {
	post("cross_entropy", "json", []byte(`{"logits": [[2, 0.5, -1], [0.1, 0.2, 0.3]], "targets": [0, 2], "weight": [1, 1, 2]}`))
	header := []byte(`{"logits": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, "weight": {"dtype": "F32",
		"shape": [3], "data_offsets": [24, 36]}, "targets": {"dtype": "I64", "shape": [2], "data_offsets": [36, 52]}}`)
	post("cross_entropy", "safetensors", uint64(len(header)), header, []float32{2, 0.5, -1, 0.1, 0.2, 0.3, 1, 1, 2}, []int64{0, 2})
	post("binary_cross_entropy", "json", []byte(`{"probabilities": [0.9, 0.2, 0.7], "targets": [1, 0, 1]}`))
	header = []byte(`{"probabilities":{"dtype":"F32","shape":[3],"data_offsets":[0,12]},"targets":{"dtype":"F32","shape":[3],"data_offsets":[12,24]}}`)
	post("binary_cross_entropy", "safetensors", uint64(len(header)), header, []float32{0.9, 0.2, 0.7, 1, 0, 1})
}
