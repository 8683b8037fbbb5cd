#include "moo_file.h"

#include <zlib.h>

#include <memory>
#include <span>
#include <string_view>

#include "base/endian.h"

namespace doppel::oracle {

namespace {

Result<std::vector<std::byte>> unpack(const std::filesystem::path& path) {
  const std::unique_ptr<gzFile_s, int (*)(gzFile)> file(gzopen(path.c_str(), "rb"), gzclose);
  if (file == nullptr) return fail_errno("open {}", path.string());
  std::vector<std::byte> all;
  std::array<std::byte, 65536> buffer;
  for (;;) {
    const int count = gzread(file.get(), buffer.data(), buffer.size());
    if (count < 0) return fail(ErrorKind::kCorrupt, "{} is no gzip file", path.string());
    if (count == 0) return all;
    all.insert(all.end(), buffer.begin(), buffer.begin() + count);
  }
}

/// Takes values off the front; what is not there reads as zero and spoils the reader.
class ChunkReader {
 public:
  explicit ChunkReader(std::span<const std::byte> bytes) : rest_(bytes) {}

  template <class T>
  T take() {
    const auto bytes = take_bytes(sizeof(T));
    return bytes.size() == sizeof(T) ? load_le<T>(bytes.data()) : T{};
  }
  std::span<const std::byte> take_bytes(std::size_t count) {
    if (count > rest_.size()) {
      spoiled_ = true;
      count = rest_.size();
    }
    const auto bytes = rest_.first(count);
    rest_ = rest_.subspan(count);
    return bytes;
  }
  struct Chunk {
    std::string_view tag;
    std::span<const std::byte> body;
  };
  Chunk take_chunk() {
    const auto tag = take_bytes(4);
    const auto size = take<std::uint32_t>();
    return {.tag = {reinterpret_cast<const char*>(tag.data()), tag.size()}, .body = take_bytes(size)};
  }
  [[nodiscard]] bool empty() const { return rest_.empty() || spoiled_; }
  [[nodiscard]] bool spoiled() const { return spoiled_; }

 private:
  std::span<const std::byte> rest_;
  bool spoiled_ = false;
};

bool read_state(ChunkReader reader, MooState& state) {
  while (!reader.empty()) {
    const auto chunk = reader.take_chunk();
    ChunkReader body(chunk.body);
    if (chunk.tag == "REGS") {
      const auto mask = body.take<std::uint16_t>();
      for (std::size_t i = 0; i < kMooRegisters; ++i)
        if ((mask >> i & 1U) != 0) state.registers.at(i) = body.take<std::uint16_t>();
    } else if (chunk.tag == "RAM ") {
      for (auto count = body.take<std::uint32_t>(); count > 0 && !body.spoiled(); --count) {
        const auto address = body.take<std::uint32_t>();
        state.memory.emplace_back(address, body.take<std::uint8_t>());
      }
    }
    if (body.spoiled()) return false;
  }
  return !reader.spoiled();
}

bool read_test(ChunkReader reader, MooTest& test) {
  test.number = reader.take<std::uint32_t>();
  while (!reader.empty()) {
    const auto chunk = reader.take_chunk();
    ChunkReader body(chunk.body);
    if (chunk.tag == "NAME") {
      const auto text = body.take_bytes(body.take<std::uint32_t>());
      test.name.assign(reinterpret_cast<const char*>(text.data()), text.size());
    } else if (chunk.tag == "BYTS") {
      for (const std::byte byte : body.take_bytes(body.take<std::uint32_t>()))
        test.bytes.push_back(std::to_integer<std::uint8_t>(byte));
    } else if (chunk.tag == "EXCP") {
      test.exception = body.take<std::uint8_t>();
    } else if (chunk.tag == "INIT" || chunk.tag == "FINA") {
      if (!read_state(body, chunk.tag == "INIT" ? test.before : test.after)) return false;
    }
    if (body.spoiled()) return false;
  }
  return !reader.spoiled();
}

}  // namespace

Result<std::vector<MooTest>> read_moo_file(const std::filesystem::path& path) {
  DOPPEL_ASSIGN(const std::vector<std::byte> bytes, unpack(path));
  std::vector<MooTest> tests;
  ChunkReader reader(bytes);
  while (!reader.empty()) {
    const auto chunk = reader.take_chunk();
    if (chunk.tag != "TEST") continue;
    if (!read_test(ChunkReader(chunk.body), tests.emplace_back()))
      return fail(ErrorKind::kCorrupt, "{}: test {} is damaged", path.string(), tests.size());
  }
  if (reader.spoiled()) return fail(ErrorKind::kCorrupt, "{} ends early", path.string());
  return tests;
}

}  // namespace doppel::oracle
