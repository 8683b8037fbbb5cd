#include "vm/disk_set.h"

#include <algorithm>

#include "base/text.h"
#include "block/image/open_image.h"

namespace doppel::vm {

namespace {

/// What to do about an image that cannot be opened; empty if the error says it all.
std::string_view advice(const Error& error, const DriveConfig& config) {
  switch (error.kind()) {
    case ErrorKind::kNotFound: return config.read_only ? "" : "; 'doppel-img create FILE SIZE' makes one";
    case ErrorKind::kPermissionDenied:
      return config.read_only ? "" : "; to read it only, add readonly=on to its -drive";
    default: return "";
  }
}

}  // namespace

Result<> DiskSet::open(const DriveConfig& config) {
  if (std::ranges::find(disks_, config.id, &Entry::id) != disks_.end())
    return fail(ErrorKind::kAlreadyExists, "there are two drives '{}'; give one of them another id=", config.id);
  if (!context_) context_.emplace(loop_);
  block::DiskOptions options{.filename = config.file,
                             .format = config.format,
                             .read_only = config.read_only,
                             .snapshot = config.snapshot,
                             .discard = config.discard};
  DOPPEL_ASSIGN(options.cache, block::parse_cache_mode(config.cache));
  auto disk = block::open_disk(*context_, options);
  const auto twin = std::ranges::find(disks_, config.file, &Entry::file);
  if (!disk && disk.error().kind() == ErrorKind::kBusy && twin != disks_.end())
    return fail(ErrorKind::kBusy, "drives '{}' and '{}' have the same image, '{}', which only one can write to",
                twin->id, config.id, config.file);
  if (!disk)
    return fail(disk.error().kind(), "drive '{}': {}{}", config.id, disk.error().describe(),
                advice(disk.error(), config));
  disks_.push_back({.id = config.id, .file = config.file, .disk = std::move(*disk)});
  return {};
}

Result<block::Disk*> DiskSet::claim(std::string_view id) {
  NearestName nearest(id);
  for (Entry& entry : disks_) {
    nearest.offer(entry.id);
    if (entry.id != id) continue;
    if (std::exchange(entry.claimed, true))
      return fail(ErrorKind::kAlreadyExists, "drive '{}' is in another device already", id);
    return entry.disk.get();
  }
  return fail(ErrorKind::kNotFound, "there is no drive '{}'{}; add '-drive if=none,id={},file=FILE'", id,
              nearest.suggestion(), id);
}

}  // namespace doppel::vm
