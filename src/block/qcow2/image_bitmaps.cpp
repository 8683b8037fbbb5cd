// The bitmaps of an image that is open: under its locks, and stored when it closes.
#include "block/qcow2/image.h"

namespace doppel::block::qcow2 {

/// Where bits and tables of bitmaps are overwritten: as check_old_place(), in the file itself.
Result<> Image::check_bitmap_place(std::uint64_t offset, std::uint64_t length) const {
  if (over_tables(offset, length))
    return fail(ErrorKind::kCorrupt, "a part of a bitmap at offset {:#x} lies over the image's own tables", offset);
  if (offset + length > align_up(file_->size(), layout_.cluster_size()))
    return fail(ErrorKind::kCorrupt, "a part of a bitmap at offset {:#x} lies behind the end of the file", offset);
  return {};
}

Task<Result<>> Image::store_bitmaps() {
  if (!bitmaps_.to_store()) co_return Result<>{};
  const auto gate = co_await gate_.lock();
  const auto guard = co_await metadata_.lock();
  DOPPEL_CO_TRY(co_await commit());
  DOPPEL_CO_TRY(co_await bitmaps_.write_new());
  DOPPEL_CO_TRY(co_await commit());
  DOPPEL_CO_TRY(co_await file_->flush());
  DOPPEL_CO_TRY(co_await bitmaps_.write_tables());
  DOPPEL_CO_TRY(co_await bitmaps_.write_directory(given_up_));
  co_return co_await give_up_retired();
}

/// After a repair of the rest, for images that are open for that.
Task<Result<>> Image::drop_broken_bitmaps() {
  DOPPEL_CO_TRY(co_await bitmaps_.drop_broken());
  DOPPEL_CO_TRY(co_await bitmaps_.write_new());
  DOPPEL_CO_TRY(co_await commit());
  DOPPEL_CO_TRY(co_await file_->flush());
  DOPPEL_CO_TRY(co_await bitmaps_.write_directory(given_up_));
  DOPPEL_CO_TRY(co_await give_up_retired());
  co_return co_await commit();
}

Task<Result<>> Image::add_bitmap(const std::string& name, std::uint64_t granularity, bool enabled) {
  const auto guard = co_await metadata_.lock();
  co_return co_await bitmaps_.add(name, granularity, enabled);
}

Task<Result<>> Image::remove_bitmap(const std::string& name) {
  const auto guard = co_await metadata_.lock();
  co_return co_await bitmaps_.remove(name);
}

Task<Result<>> Image::clear_bitmap(const std::string& name) {
  const auto guard = co_await metadata_.lock();
  co_return co_await bitmaps_.clear(name);
}

Task<Result<>> Image::enable_bitmap(const std::string& name, bool enabled) {
  const auto guard = co_await metadata_.lock();
  co_return co_await bitmaps_.set_enabled(name, enabled);
}

Task<Result<>> Image::merge_bitmap(const std::string& target, Image& from, const std::string& source) {
  {
    const auto guard = co_await metadata_.lock();
    DOPPEL_CO_TRY(co_await bitmaps_.begin_change(target));
  }
  if (&from == this && source == target) co_return Result<>{};
  Result<> result;
  const Bitmaps::VisitRange add = [&](std::uint64_t offset, std::uint64_t length) {
    if (result) result = bitmaps_.set_dirty(target, offset, length);
  };
  DOPPEL_CO_TRY(co_await from.visit_bitmap(source, add));
  co_return result;
}

Task<Result<>> Image::visit_bitmap(const std::string& name, const Bitmaps::VisitRange& visit) {
  const auto guard = co_await metadata_.lock();
  co_return co_await bitmaps_.visit(name, visit);
}

}  // namespace doppel::block::qcow2
