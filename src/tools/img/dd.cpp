// dd: copies a part of a disk into a new image, by dd(1)'s operands.
#include <fmt/core.h>

#include <algorithm>
#include <filesystem>
#include <limits>

#include "base/text.h"
#include "block/image/create_image.h"
#include "tools/img/command.h"

namespace doppel::img {
namespace {

constexpr OptionRow kOptions[] = {{'f', "", true}, {'O', "", true}, {'U', "force-share", false}};
constexpr std::uint64_t kPiece = 2 << 20;  // bytes at a time

struct Operands {
  std::string input;
  std::string output;
  std::uint64_t block_size = 512;
  std::optional<std::uint64_t> count;  // blocks, from the input's beginning: skipped ones count
  std::uint64_t skip = 0;              // blocks
};

/// The number or size that OPERAND has, from LEAST to MOST.
Result<std::uint64_t> parse_operand(std::string_view operand, const std::string& text, std::uint64_t least,
                                    std::uint64_t most) {
  const auto value = parse_size(text);
  if (!value || *value < least || *value > most)
    return fail(ErrorKind::kInvalidArgument, "{}= expects a number from {} to {}, with k, M, G or T, not '{}'", operand,
                least, most, text);
  return *value;
}

Result<Operands> parse_operands(const std::vector<std::string>& words) {
  constexpr std::uint64_t kMostBlockSize = std::numeric_limits<std::int32_t>::max();
  constexpr std::uint64_t kMostBlocks = std::numeric_limits<std::int64_t>::max();
  Operands operands;
  for (const std::string& word : words) {
    const std::size_t equals = word.find('=');
    const std::string name = word.substr(0, equals);
    const std::string value = equals == std::string::npos ? "" : word.substr(equals + 1);
    if (name == "if") {
      operands.input = value;
    } else if (name == "of") {
      operands.output = value;
    } else if (name == "bs") {
      DOPPEL_ASSIGN(operands.block_size, parse_operand(name, value, 1, kMostBlockSize));
    } else if (name == "count") {
      DOPPEL_ASSIGN(operands.count, parse_operand(name, value, 0, kMostBlocks));
    } else if (name == "skip") {
      DOPPEL_ASSIGN(operands.skip, parse_operand(name, value, 0, kMostBlocks));
    } else {
      return fail(ErrorKind::kInvalidArgument,
                  "there is no operand '{}'; dd has if=, of=, bs=, count= and skip=", name);
    }
  }
  if (operands.input.empty() || operands.output.empty())
    return fail(ErrorKind::kInvalidArgument, "dd needs an input and an output; write if=FILE of=FILE");
  return operands;
}

/// COUNT blocks in bytes, at most LIMIT.
std::uint64_t in_bytes(std::uint64_t count, std::uint64_t block_size, std::uint64_t limit) {
  return count > limit / block_size ? limit : count * block_size;
}

block::Task<Result<>> copy_range(block::Node& from, std::uint64_t begin, std::uint64_t end, block::Node& to) {
  std::vector<std::byte> bytes(std::min(kPiece, end - begin));
  for (std::uint64_t at = begin; at < end;) {
    const std::span<std::byte> piece(bytes.data(), static_cast<std::size_t>(std::min<std::uint64_t>(kPiece, end - at)));
    DOPPEL_CO_TRY(co_await from.read(at, piece));
    DOPPEL_CO_TRY(co_await to.write(at - begin, std::span<const std::byte>(piece)));
    at += piece.size();
  }
  co_return Result<>{};
}

/// By whatever names.
bool is_same_file(const std::string& one, const std::string& other) {
  std::error_code missing;
  return std::filesystem::equivalent(one, other, missing);
}

Result<int> run(Session& session, const Arguments& arguments) {
  DOPPEL_ASSIGN(const Operands operands, parse_operands(arguments.rest()));
  DOPPEL_ASSIGN(const OpenRequest input_options, image_options(arguments, operands.input, false));
  DOPPEL_ASSIGN(const OpenImage input, OpenImage::open(session, input_options));
  const std::uint64_t size = input.node().size();
  const std::uint64_t end = operands.count ? in_bytes(*operands.count, operands.block_size, size) : size;
  const bool is_behind = operands.skip > end / operands.block_size;
  const std::uint64_t begin = is_behind ? end : operands.skip * operands.block_size;
  if (is_behind) fmt::print(stderr, "doppel-img: {}: cannot skip to specified offset\n", operands.input);

  if (is_same_file(input.node().info().filename, operands.output))
    return fail(
        ErrorKind::kInvalidArgument,
        "'{}' is both the input and the output, which would lose what it has; write another of=", operands.output);
  const block::CreateImage request{
      .filename = operands.output, .format = arguments.value_or("O", "raw"), .size = end - begin};
  if (auto made = session.run(block::create_image(session.context(), request)); !made)
    return std::unexpected(std::move(made).error().wrap(fmt::format("'{}'", operands.output)));
  DOPPEL_ASSIGN(OpenRequest output_options, file_image_options(arguments, operands.output, true));
  output_options.format = request.format;
  DOPPEL_ASSIGN(OpenImage output, OpenImage::open(session, output_options));
  DOPPEL_TRY(session.run(copy_range(input.node(), begin, end, output.node())));
  DOPPEL_TRY(output.close());
  return 0;
}

}  // namespace

const Command kDd{"dd", "[-f FMT] [-O FMT] [-U] [bs=SIZE] [count=N] [skip=N] if=FILE of=FILE", kOptions, run};

}  // namespace doppel::img
