# Two losses with R's httr2 and jsonlite: as JSON, and as binary tensors of the Open Inference Protocol.
library(httr2)

service <- request(Sys.getenv("LOSSMETER_URL", "http://127.0.0.1:8000")) |>
  req_error(body = \(response) resp_body_json(response)$detail)

print_json <- function(name, fields) {
  response <- service |> req_url_path_append("v1/losses", name) |> req_body_json(fields) |> req_perform()
  cat(sprintf("%s json %.6f\n", name, as.numeric(resp_body_json(response)$loss)))
}

as_input <- function(values, name) {
  list(
    name = name,
    datatype = if (is.integer(values)) "INT32" else "FP32",
    shape = I(if (is.matrix(values)) dim(values) else length(values)), # I: an array in JSON, whatever its length
    parameters = list(binary_data_size = 4L * length(values))
  )
}

print_oip <- function(name, tensors) {
  inputs <- unname(Map(as_input, tensors, names(tensors)))
  header <- list(inputs = inputs, outputs = list(list(name = "loss")), parameters = list(binary_data_output = TRUE))
  header <- charToRaw(jsonlite::toJSON(header, auto_unbox = TRUE))
  bytes <- lapply(tensors, \(values) writeBin(c(t(values)), raw(), size = 4, endian = "little")) # t: row by row
  response <- service |>
    req_url_path_append("v2/models", name, "infer") |>
    req_headers("Inference-Header-Content-Length" = length(header)) |>
    req_body_raw(c(header, unlist(bytes)), "application/octet-stream") |>
    req_perform()
  answer <- tail(resp_body_raw(response), -as.integer(resp_header(response, "Inference-Header-Content-Length")))
  cat(sprintf("%s oip %.6f\n", name, readBin(answer, "numeric", size = 4, endian = "little")))
}

cross_entropy <- list(logits = rbind(c(2.0, 0.5, -1.0), c(0.1, 0.2, 0.3)), targets = c(0L, 2L), weight = c(1, 1, 2))
binary_cross_entropy <- list(probabilities = c(0.9, 0.2, 0.7), targets = c(1, 0, 1))
print_json("cross_entropy", cross_entropy)
print_oip("cross_entropy", cross_entropy)
print_json("binary_cross_entropy", binary_cross_entropy)
print_oip("binary_cross_entropy", binary_cross_entropy)
