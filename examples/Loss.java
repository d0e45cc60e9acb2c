// Two losses with the HttpClient of Java 17: as JSON, and as binary tensors in safetensors bodies; answered in JSON.
import java.net.URI;
import java.net.http.*;
import java.nio.*;

public class Loss {
    static final HttpClient CLIENT = HttpClient.newHttpClient();

    static void print(String name, String format, byte[] body) throws Exception {
        String url = System.getenv().getOrDefault("LOSSMETER_URL", "http://127.0.0.1:8000") + "/v1/losses/" + name;
        String mediaType = format.equals("json") ? "application/json" : "application/x-safetensors";
        var request = HttpRequest.newBuilder(URI.create(url)).header("Content-Type", mediaType)
            .POST(HttpRequest.BodyPublishers.ofByteArray(body)).build();
        var reply = CLIENT.send(request, HttpResponse.BodyHandlers.ofString());
        if (reply.statusCode() != 200) throw new Exception(reply.body().replaceAll(".*?\"detail\":\"(.*?[^\\\\])\".*", "$1"));
        String loss = reply.body().replaceAll(".*\"loss\":\"?([^\",]+).*", "$1"); // Java has no JSON parser
        System.out.printf(java.util.Locale.ROOT, "%s %s %.6f%n", name, format, Float.parseFloat(loss));
    }

    static byte[] safetensors(String header, float[] floats, int... targets) {
        var body = ByteBuffer.allocate(8 + header.length() + 4 * (floats.length + targets.length));
        body.order(ByteOrder.LITTLE_ENDIAN).putLong(header.length()).put(header.getBytes());
        for (float value : floats) body.putFloat(value);
        for (int target : targets) body.putInt(target);
        return body.array();
    }

    public static void main(String[] arguments) throws Exception {
        print("cross_entropy", "json", """
            {"logits": [[2.0, 0.5, -1.0], [0.1, 0.2, 0.3]], "targets": [0, 2], "weight": [1, 1, 2]}""".getBytes());
        print("cross_entropy", "safetensors", safetensors("""
            {"logits": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, "weight": {"dtype": "F32", "shape":
            [3], "data_offsets": [24, 36]}, "targets": {"dtype": "I32", "shape": [2], "data_offsets": [36, 44]}}""",
            new float[] {2.0f, 0.5f, -1.0f, 0.1f, 0.2f, 0.3f, 1, 1, 2}, 0, 2));
        print("binary_cross_entropy", "json", "{\"probabilities\": [0.9, 0.2, 0.7], \"targets\": [1, 0, 1]}".getBytes());
        print("binary_cross_entropy", "safetensors", safetensors("""
            {"probabilities": {"dtype": "F32", "shape": [3], "data_offsets": [0, 12]}, "targets": {"dtype": "F32",
            "shape": [3], "data_offsets": [12, 24]}}""", new float[] {0.9f, 0.2f, 0.7f, 1, 0, 1}));
    }
}
