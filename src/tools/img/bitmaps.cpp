#include "tools/img/bitmaps.h"

#include <fmt/core.h>

#include <algorithm>
#include <bit>

#include "base/bits.h"

namespace doppel::img {

std::uint64_t default_granularity(std::uint64_t cluster_size) {
  return std::clamp<std::uint64_t>(cluster_size, 4096, 65536);
}

Result<block::qcow2::Image*> image_with_bitmaps(const OpenImage& image) {
  if (block::qcow2::Image* qcow2 = image.qcow2()) return qcow2;
  return fail(ErrorKind::kUnsupported, "'{}': images of format {} have no bitmaps", image.filename(),
              image.node().info().format);
}

Result<> check_copied_bitmaps(const OpenImage& source, Broken broken) {
  DOPPEL_ASSIGN(const block::qcow2::Image* from, image_with_bitmaps(source));
  for (const block::qcow2::BitmapInfo& bitmap : from->bitmaps()) {
    if (!bitmap.inconsistent) continue;
    if (broken == Broken::kRefuse)
      return fail(ErrorKind::kCorrupt,
                  "bitmap '{}' of '{}' is inconsistent; say --skip-broken-bitmaps, or remove it with 'bitmap --remove'",
                  bitmap.name, source.filename());
    fmt::print(stderr, "doppel-img: warning: skipping the inconsistent bitmap '{}'\n", bitmap.name);
  }
  return {};
}

Result<> copy_bitmaps(Session& session, const OpenImage& source, const OpenImage& target) {
  DOPPEL_ASSIGN(block::qcow2::Image * from, image_with_bitmaps(source));
  DOPPEL_ASSIGN(block::qcow2::Image * to, image_with_bitmaps(target));
  for (const block::qcow2::BitmapInfo& bitmap : from->bitmaps()) {
    if (bitmap.inconsistent) continue;
    DOPPEL_TRY(session.run(to->add_bitmap(bitmap.name, bitmap.granularity, bitmap.enabled)));
    DOPPEL_TRY(session.run(to->merge_bitmap(bitmap.name, *from, bitmap.name)));
  }
  return {};
}

std::uint64_t bitmaps_size(const block::qcow2::Image& source, std::uint64_t cluster_size) {
  const block::qcow2::Layout layout{.cluster_bits = static_cast<unsigned>(std::countr_zero(cluster_size))};
  std::uint64_t bytes = 0;
  std::uint64_t directory = 0;
  for (const block::qcow2::BitmapInfo& bitmap : source.bitmaps()) {
    const auto granularity = static_cast<unsigned>(std::countr_zero(bitmap.granularity));
    const std::uint64_t clusters = block::qcow2::bitmap_clusters(layout, source.size(), granularity);
    bytes += clusters * cluster_size + align_up(clusters * 8, cluster_size);
    directory += block::qcow2::directory_entry_bytes({.name = bitmap.name});
  }
  return bytes + align_up(directory, cluster_size);
}

}  // namespace doppel::img
