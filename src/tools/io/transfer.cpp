// read, write, their vectored and asynchronous forms, discard.
#include <algorithm>
#include <fstream>
#include <memory>
#include <vector>

#include "base/text.h"
#include "tools/io/report.h"
#include "tools/io/shell.h"

namespace doppel::io {
namespace {

using Clock = std::chrono::steady_clock;
using block::Task;

constexpr std::uint64_t kMostBytes = 2'147'483'136;  // QEMU's
constexpr std::size_t kUnlimited = 1000;
constexpr int kUsualPattern = 0xcd;

constexpr OptionRow kReadOptions[] = {
    {'a', "", false}, {'b', "", false}, {'C', "", false}, {'p', "", false}, {'q', "", false},
    {'v', "", false}, {'P', "", true},  {'s', "", true},  {'l', "", true},
};
constexpr OptionRow kReadvOptions[] = {{'C', "", false}, {'q', "", false}, {'v', "", false}, {'P', "", true}};
constexpr OptionRow kWriteOptions[] = {
    {'b', "", false}, {'c', "", false}, {'C', "", false}, {'f', "", false}, {'n', "", false}, {'p', "", false},
    {'q', "", false}, {'u', "", false}, {'z', "", false}, {'P', "", true},  {'s', "", true},
};
constexpr OptionRow kWritevOptions[] = {{'C', "", false}, {'f', "", false}, {'q', "", false}, {'P', "", true}};
constexpr OptionRow kAioReadOptions[] = {{'C', "", false}, {'q', "", false}, {'v', "", false}, {'P', "", true}};
constexpr OptionRow kAioWriteOptions[] = {{'C', "", false}, {'f', "", false}, {'q', "", false},
                                          {'u', "", false}, {'z', "", false}, {'P', "", true}};
constexpr OptionRow kDiscardOptions[] = {{'C', "", false}, {'q', "", false}};

/// One transfer, as its command describes it.
struct Job {
  enum class Kind : std::uint8_t { kRead, kWrite, kWriteZeroes, kWriteCompressed, kDiscard };
  Kind kind = Kind::kRead;
  std::string_view verb = "read";  // in the report
  std::string_view what = "read";  // in a failure
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
  std::vector<std::byte> bytes{};
  std::optional<int> pattern{};  // of a read: what must be there
  std::uint64_t pattern_offset = 0;
  std::uint64_t pattern_length = 0;
  bool flush_behind = false;
  bool may_unmap = false;
  bool quiet = false;
  bool for_programs = false;
  bool dump = false;
};

bool complain(std::string_view text) {
  fmt::print("{}\n", text);
  return false;
}

bool parse_pattern(const Arguments& arguments, std::optional<int>& pattern) {
  const auto text = arguments.value("P");
  if (!text) return true;
  const auto number = parse_number(*text);
  if (!number || *number > 0xff) return complain(fmt::format("{} is not a valid pattern byte", *text));
  pattern = static_cast<int>(*number);
  return true;
}

/// Offset and lengths, of which only vectored commands take several.
bool parse_place(const Arguments& arguments, bool several, Job& job) {
  const auto& words = arguments.rest();
  if (words.size() < 2 || (words.size() > 2 && !several)) return complain("expecting an offset and a length");
  const auto offset = parse_bytes(words[0]);
  if (!offset) return false;
  job.offset = *offset;
  for (std::size_t i = 1; i < words.size(); ++i) {
    const auto length = parse_bytes(words[i]);
    if (!length) return false;
    if (*length > kMostBytes - job.length)
      return complain(fmt::format("length cannot exceed {}, given {}", kMostBytes, words[i]));
    job.length += *length;
  }
  job.quiet = arguments.has("q");
  job.for_programs = arguments.has("C");
  job.dump = arguments.has("v");
  return true;
}

bool parse_read(const Arguments& arguments, bool several, Job& job) {
  if (arguments.has("b")) return complain("-b is not there: Doppel does not read the VM state");
  if (!parse_pattern(arguments, job.pattern) || !parse_place(arguments, several, job)) return false;
  if ((arguments.has("s") || arguments.has("l")) && !job.pattern) return complain("-s and -l need -P");
  if (const auto text = arguments.value("s")) {
    const auto start = parse_bytes(*text);
    if (!start) return false;
    job.pattern_offset = *start;
  }
  job.pattern_length = job.length - std::min(job.pattern_offset, job.length);
  if (const auto text = arguments.value("l")) {
    const auto length = parse_bytes(*text);
    if (!length) return false;
    job.pattern_length = *length;
  }
  if (job.pattern_offset > job.length || job.pattern_length > job.length - job.pattern_offset)
    return complain("pattern verification range exceeds end of read data");
  job.bytes.resize(job.length);
  return true;
}

/// The contents of a file, over and over.
bool fill_from_file(const std::string& path, std::vector<std::byte>& bytes) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return complain(fmt::format("{}: {}", path, Error::from_errno(last_errno(), "cannot open").describe()));
  std::vector<char> pattern(std::max<std::size_t>(bytes.size(), 1));
  file.read(pattern.data(), static_cast<std::streamsize>(pattern.size()));
  const auto got = static_cast<std::size_t>(file.gcount());
  if (got == 0) return complain(fmt::format("{}: file is empty", path));
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(pattern[i % got]);
  return true;
}

bool parse_write(const Arguments& arguments, bool several, Image& image, Job& job) {
  job.verb = "wrote";
  job.what = "write";
  const bool zeroes = arguments.has("z");
  if (arguments.has("b")) return complain("-b is not there: Doppel does not write the VM state");
  if (arguments.has("c") && zeroes) return complain("-c and -z cannot be specified at the same time");
  if (arguments.has("n")) return complain("-n is not there");
  if (arguments.has("u") && !zeroes) return complain("-u requires -z to be specified");
  if (int{zeroes} + int{arguments.has("P")} + int{arguments.has("s")} > 1)
    return complain("Only one of -z, -P, and -s can be specified at the same time");
  std::optional<int> pattern;
  if (!parse_pattern(arguments, pattern) || !parse_place(arguments, several, job)) return false;
  job.kind = zeroes ? Job::Kind::kWriteZeroes : arguments.has("c") ? Job::Kind::kWriteCompressed : Job::Kind::kWrite;
  if (job.kind == Job::Kind::kWriteCompressed && image.qcow2() == nullptr)
    return complain("write failed: Operation not supported");
  if (image.node().read_only()) {
    fmt::print(stderr, "doppel-io: the image is read-only\n");
    return false;
  }
  job.flush_behind = arguments.has("f") || image.write_through();
  job.may_unmap = arguments.has("u") && image.options().discard;
  if (zeroes) return true;
  job.bytes.assign(job.length, static_cast<std::byte>(pattern.value_or(kUsualPattern)));
  const auto file = arguments.value("s");
  return !file || fill_from_file(*file, job.bytes);
}

Task<Result<>> carry_out(Image& image, Job& job) {
  block::Node& node = image.node();
  if (job.offset > node.size() || job.length > node.size() - job.offset)
    co_return fail(ErrorKind::kOutOfRange, "behind the end");
  const std::span<std::byte> bytes(job.bytes);
  const std::span<const std::byte> written(job.bytes);
  switch (job.kind) {
    case Job::Kind::kRead: co_return co_await node.read(job.offset, bytes);
    case Job::Kind::kWrite: DOPPEL_CO_TRY(co_await node.write(job.offset, written)); break;
    case Job::Kind::kWriteZeroes: {
      const auto unmap = job.may_unmap ? block::Unmap::kMayUnmap : block::Unmap::kKeep;
      DOPPEL_CO_TRY(co_await node.write_zeroes(job.offset, job.length, unmap));
      break;
    }
    case Job::Kind::kWriteCompressed:
      DOPPEL_CO_TRY(co_await image.qcow2()->write_compressed(job.offset, written));
      break;
    case Job::Kind::kDiscard:
      if (image.options().discard) DOPPEL_CO_TRY(co_await node.discard(job.offset, job.length));
      break;
  }
  if (job.flush_behind) DOPPEL_CO_TRY(co_await node.flush());
  co_return Result<>{};
}

bool has_pattern(const Job& job) {
  if (!job.pattern) return true;
  const auto part = std::span(job.bytes).subspan(job.pattern_offset, job.pattern_length);
  return std::ranges::all_of(part, [&](std::byte byte) { return static_cast<int>(byte) == *job.pattern; });
}

/// Does it, and tells.
Task<bool> perform(Image& image, std::unique_ptr<Job> job) {
  const auto begin = Clock::now();
  const Result<> result = co_await carry_out(image, *job);
  const auto time = Clock::now() - begin;
  if (!result) {
    print_failure(job->what, result.error());
    co_return false;
  }
  const bool right = has_pattern(*job);
  if (!right)
    fmt::print("Pattern verification failed at offset {}, {} bytes\n", job->offset + job->pattern_offset,
               job->pattern_length);
  if (job->quiet) co_return right;
  if (job->dump) fmt::print("{}", dump_text(job->bytes, job->offset));
  fmt::print("{}", report_text({job->verb, job->offset, job->length, time}, job->for_programs));
  co_return right;
}

bool run_read(Shell& shell, const Arguments& arguments, bool several, bool wait) {
  auto job = std::make_unique<Job>();
  if (!parse_read(arguments, several, *job)) return false;
  if (wait) return shell.image.run(perform(shell.image, std::move(job)));
  shell.image.begin(perform(shell.image, std::move(job)));
  return true;
}

bool run_write(Shell& shell, const Arguments& arguments, bool several, bool wait) {
  auto job = std::make_unique<Job>();
  if (!parse_write(arguments, several, shell.image, *job)) return false;
  if (wait) return shell.image.run(perform(shell.image, std::move(job)));
  shell.image.begin(perform(shell.image, std::move(job)));
  return true;
}

bool read(Shell& shell, const Arguments& arguments) {
  return run_read(shell, arguments, false, true);
}
bool readv(Shell& shell, const Arguments& arguments) {
  return run_read(shell, arguments, true, true);
}
bool aio_read(Shell& shell, const Arguments& arguments) {
  return run_read(shell, arguments, true, false);
}
bool write(Shell& shell, const Arguments& arguments) {
  return run_write(shell, arguments, false, true);
}
bool writev(Shell& shell, const Arguments& arguments) {
  return run_write(shell, arguments, true, true);
}
bool aio_write(Shell& shell, const Arguments& arguments) {
  return run_write(shell, arguments, true, false);
}

bool aio_flush(Shell& shell, const Arguments& /*arguments*/) {
  shell.image.finish_all();
  return true;
}

bool discard(Shell& shell, const Arguments& arguments) {
  auto job = std::make_unique<Job>();
  if (!parse_place(arguments, false, *job)) return false;
  job->kind = Job::Kind::kDiscard;
  job->verb = job->what = "discard";
  if (shell.image.node().read_only()) return complain("discard failed: Operation not permitted");
  return shell.image.run(perform(shell.image, std::move(job)));
}

constexpr Command kCommands[] = {
    {"aio_flush", "", 0, 0, true, "", "completes all outstanding aio requests", {}, aio_flush},
    {"aio_read", "", 2, kUnlimited, true, "[-Cqv] [-P pattern] off len [len..]",
     "asynchronously reads a number of bytes", kAioReadOptions, aio_read},
    {"aio_write", "", 2, kUnlimited, true, "[-Cfquz] [-P pattern] off len [len..]",
     "asynchronously writes a number of bytes", kAioWriteOptions, aio_write},
    {"discard", "d", 2, kUnlimited, true, "[-Cq] off len", "discards a number of bytes at a specified offset",
     kDiscardOptions, discard},
    {"read", "r", 2, kUnlimited, true, "[-aCqv] [-P pattern [-s off] [-l len]] off len",
     "reads a number of bytes at a specified offset", kReadOptions, read},
    {"readv", "", 2, kUnlimited, true, "[-Cqv] [-P pattern] off len [len..]",
     "reads a number of bytes at a specified offset", kReadvOptions, readv},
    {"write", "w", 2, kUnlimited, true, "[-cCfquz] [-P pattern | -s source_file] off len",
     "writes a number of bytes at a specified offset", kWriteOptions, write},
    {"writev", "", 2, kUnlimited, true, "[-Cfq] [-P pattern] off len [len..]",
     "writes a number of bytes at a specified offset", kWritevOptions, writev},
};

}  // namespace

std::span<const Command> transfer_commands() {
  return kCommands;
}

}  // namespace doppel::io
