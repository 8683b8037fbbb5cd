// rebase: another backing file, with the same contents on top unless -u says not to look.
#include <fmt/core.h>

#include <cstring>

#include "tools/img/command.h"
#include "tools/img/progress.h"

namespace doppel::img {
namespace {

constexpr OptionRow kOptions[] = {
    {'f', "", true},  {'b', "", true},  {'F', "", true},
    {'t', "", true},  {'T', "", true},  {'u', "", false},
    {'p', "", false}, {'q', "", false}, {'U', "force-share", false},
};
constexpr std::uint64_t kPiece = 1 << 20;

/// Bytes of NODE, zeroes behind its end or without it.
block::Task<Result<>> read_padded(block::Node* node, std::uint64_t offset, std::span<std::byte> to) {
  const std::uint64_t size = node != nullptr ? node->size() : 0;
  const auto inside = static_cast<std::size_t>(offset < size ? std::min<std::uint64_t>(to.size(), size - offset) : 0);
  std::ranges::fill(to.subspan(inside), std::byte{0});
  if (inside == 0) co_return Result<>{};
  const std::span<std::byte> part = to.first(inside);
  co_return co_await node->read(offset, part);
}

/// Where the new backing file differs from the old one and the image has nothing of its own, it gets the old contents.
block::Task<Result<>> keep_contents(block::qcow2::Image& image, block::Node* base, Progress& progress) {
  const std::uint64_t cluster = image.header().layout().cluster_size();
  for (std::uint64_t offset = 0; offset < image.size();) {
    DOPPEL_CO_ASSIGN(const block::BlockStatus status, co_await image.block_status(offset, image.size() - offset));
    std::uint64_t length = status.bytes;
    if (!status.allocated) {
      // Cluster by cluster, so that what is equal stays unallocated.
      length = std::min({length, kPiece, cluster - offset % cluster});
      std::vector<std::byte> old_bytes(length);
      std::vector<std::byte> new_bytes(length);
      DOPPEL_CO_TRY(co_await read_padded(image.backing(), offset, old_bytes));
      DOPPEL_CO_TRY(co_await read_padded(base, offset, new_bytes));
      const std::span<const std::byte> bytes(old_bytes);
      if (old_bytes != new_bytes) DOPPEL_CO_TRY(co_await image.write(offset, bytes));
    }
    offset += length;
    progress.show(offset);
  }
  co_return co_await image.flush();
}

Result<> rebase_safely(Session& session, const Arguments& arguments, OpenImage& image, const std::string& base_name) {
  std::optional<OpenImage> base;
  if (!base_name.empty()) {
    DOPPEL_ASSIGN(OpenRequest options, image_options(arguments, base_name, false, "T"));
    options.nodes.reset();
    options.filename = block::beside(image.node().info().filename, base_name);
    options.format = arguments.value_or("F", "");
    DOPPEL_ASSIGN(OpenImage opened, OpenImage::open(session, options));
    base.emplace(std::move(opened));
  }
  Progress progress(arguments.has("p") && !arguments.has("q"), image.node().size());
  return session.run(keep_contents(*image.qcow2(), base ? &base->node() : nullptr, progress));
}

Result<int> run(Session& session, const Arguments& arguments) {
  DOPPEL_ASSIGN(const std::string filename, only_filename(arguments));
  const auto base = arguments.value("b");
  if (!base) return fail(ErrorKind::kInvalidArgument, "the new backing file is missing: -b FILE, or -b '' for none");
  if (!base->empty() && !arguments.has("F"))
    return fail(ErrorKind::kInvalidArgument, "the backing file '{}' needs its format said: -F raw or -F qcow2", *base);
  DOPPEL_ASSIGN(OpenRequest options, image_options(arguments, filename, true));
  const bool unsafe = arguments.has("u");
  if (unsafe) options.backing = block::Backing::kNone;
  DOPPEL_ASSIGN(OpenImage image, OpenImage::open(session, options));
  if (image.qcow2() == nullptr)
    return fail(ErrorKind::kUnsupported, "'{}': images of format {} have no backing file", filename,
                image.node().info().format);
  if (!unsafe) DOPPEL_TRY(rebase_safely(session, arguments, image, *base));
  DOPPEL_TRY(session.run(image.qcow2()->change_backing(*base, arguments.value_or("F", ""))));
  DOPPEL_TRY(image.close());
  return 0;
}

}  // namespace

const Command kRebase{"rebase", "[-f FMT] [-t CACHE] [-T CACHE] [-p] [-q] [-u] [-U] -b BACKING [-F FMT] FILE", kOptions,
                      run};

}  // namespace doppel::img
