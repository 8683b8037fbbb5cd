// compare: have two images the same contents?
#include <fmt/core.h>

#include <algorithm>
#include <cstring>

#include "tools/img/chain.h"
#include "tools/img/command.h"
#include "tools/img/copy.h"
#include "tools/img/progress.h"

namespace doppel::img {
namespace {

constexpr OptionRow kOptions[] = {
    {'f', "", true},  {'F', "", true},  {'T', "", true},  {'p', "", false},
    {'q', "", false}, {'s', "", false}, {'U', "", false},
};
constexpr std::size_t kPiece = 1 << 20;

/// What a difference is, or nothing.
using Difference = std::optional<std::string>;

struct Comparison {
  block::Node& first;
  block::Node& second;
  bool strict;
};

block::Task<Result<Difference>> compare_at(const Comparison& images, std::uint64_t offset, std::uint64_t end,
                                           std::uint64_t& length) {
  DOPPEL_CO_ASSIGN(const ChainStatus a, co_await chain_status(images.first, nullptr, offset, end - offset));
  DOPPEL_CO_ASSIGN(const ChainStatus b, co_await chain_status(images.second, nullptr, offset, a.status.bytes));
  length = std::min<std::uint64_t>(b.status.bytes, kPiece);
  const bool a_zero = a.status.zero || !a.status.allocated;
  const bool b_zero = b.status.zero || !b.status.allocated;
  if (images.strict && (a.status.allocated != b.status.allocated || a_zero != b_zero))
    co_return fmt::format("Strict mode: Offset {} block status mismatch!", offset);
  if (a_zero && b_zero) {
    length = b.status.bytes;
    co_return std::nullopt;
  }
  std::vector<std::byte> bytes_a(length);
  std::vector<std::byte> bytes_b(length);
  DOPPEL_CO_TRY(co_await images.first.read(offset, std::span<std::byte>(bytes_a)));
  DOPPEL_CO_TRY(co_await images.second.read(offset, std::span<std::byte>(bytes_b)));
  const auto [at, other] = std::ranges::mismatch(bytes_a, bytes_b);
  if (at == bytes_a.end()) co_return std::nullopt;
  const auto index = static_cast<std::uint64_t>(at - bytes_a.begin());
  co_return fmt::format("Content mismatch at offset {}!", (offset + index) / 512 * 512);
}

/// What one has behind the other's end must be zeroes.
block::Task<Result<Difference>> compare_rest(block::Node& longer, std::uint64_t offset, std::uint64_t& length) {
  DOPPEL_CO_ASSIGN(const ChainStatus status, co_await chain_status(longer, nullptr, offset, longer.size() - offset));
  length = status.status.bytes;
  if (status.status.zero || !status.status.allocated) co_return std::nullopt;
  length = std::min<std::uint64_t>(length, kPiece);
  std::vector<std::byte> bytes(length);
  DOPPEL_CO_TRY(co_await longer.read(offset, std::span<std::byte>(bytes)));
  const auto other = std::ranges::find_if(bytes, [](std::byte byte) { return byte != std::byte{0}; });
  if (other == bytes.end()) co_return std::nullopt;
  const auto index = static_cast<std::uint64_t>(other - bytes.begin());
  co_return fmt::format("Content mismatch at offset {}!", (offset + index) / 512 * 512);
}

Result<Difference> compare(Session& session, const Comparison& images, Progress& progress, bool quiet) {
  const std::uint64_t common = std::min(images.first.size(), images.second.size());
  const std::uint64_t end = std::max(images.first.size(), images.second.size());
  if (common != end && images.strict) return "Strict mode: Image size mismatch!";
  if (common != end && !quiet) fmt::print("Warning: Image size mismatch!\n");
  block::Node& longer = images.first.size() > common ? images.first : images.second;
  for (std::uint64_t offset = 0; offset < end; progress.show(offset)) {
    std::uint64_t length = 0;
    Result<Difference> difference = offset < common ? session.run(compare_at(images, offset, common, length))
                                                    : session.run(compare_rest(longer, offset, length));
    if (!difference || *difference) return difference;
    offset += length;
  }
  return std::nullopt;
}

Result<int> run(Session& session, const Arguments& arguments) {
  if (arguments.rest().size() != 2) return fail(ErrorKind::kInvalidArgument, "expecting two image file names");
  DOPPEL_ASSIGN(const OpenRequest options_a, image_options(arguments, arguments.rest()[0], false, "T"));
  DOPPEL_ASSIGN(OpenRequest options_b, image_options(arguments, arguments.rest()[1], false, "T"));
  if (!options_b.nodes) options_b.format = arguments.value_or("F", "");
  DOPPEL_ASSIGN(const OpenImage a, OpenImage::open(session, options_a));
  DOPPEL_ASSIGN(const OpenImage b, OpenImage::open(session, options_b));
  const bool quiet = arguments.has("q");
  Difference difference;
  {
    Progress progress(arguments.has("p") && !quiet, std::max(a.node().size(), b.node().size()));
    DOPPEL_ASSIGN(difference, compare(session, {a.node(), b.node(), arguments.has("s")}, progress, quiet));
  }
  if (!quiet) fmt::print("{}\n", difference.value_or("Images are identical."));
  return difference ? 1 : 0;
}

}  // namespace

const Command kCompare{"compare", "[-f FMT] [-F FMT] [-T CACHE] [-p] [-q] [-s] [-U] FILE FILE", kOptions, run};

}  // namespace doppel::img
