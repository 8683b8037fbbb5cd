#include "block/qcow2/create.h"

#include <bit>

#include "base/endian.h"
#include "base/text.h"
#include "block/qcow2/refcounts.h"

namespace doppel::block::qcow2 {

namespace {

constexpr std::uint64_t kMinExtendedCluster = 16 * kKiB;

Header make_header(const CreateOptions& options) {
  Header header{.version = options.version,
                .cluster_bits = static_cast<unsigned>(std::countr_zero(options.cluster_size)),
                .refcount_order = static_cast<unsigned>(std::countr_zero(options.refcount_bits)),
                .size = options.size};
  header.compression = options.compression;
  if (options.compression != Compression::kZlib) header.incompatible |= Header::kCompressionType;
  if (options.extended_l2) header.incompatible |= Header::kExtendedL2;
  if (options.lazy_refcounts) header.compatible |= Header::kLazyRefcounts;
  if (!options.data_file.empty()) header.incompatible |= Header::kExternalData;
  if (options.data_file_raw) header.autoclear |= Header::kRawExternalData;
  header.backing_file = options.backing_file;
  header.backing_format = options.backing_format;
  header.data_file = options.data_file;
  return header;
}

}  // namespace

Result<> check_options(const CreateOptions& options) {
  const auto bad = [](std::string text) {
    return std::unexpected(Error(ErrorKind::kInvalidArgument, std::move(text)));
  };
  const std::uint64_t cluster = options.cluster_size;
  if (!std::has_single_bit(cluster) || cluster < 512 || cluster > 2 * kMiB)
    return bad("cluster_size must be a power of two between 512 and 2M");
  if (!std::has_single_bit(options.refcount_bits) || options.refcount_bits > 64)
    return bad("refcount_bits must be a power of two and at most 64");
  if (options.extended_l2 && cluster < kMinExtendedCluster)
    return bad("extended_l2 needs a cluster_size of at least 16k");
  const bool version3 = options.refcount_bits != 16 || options.lazy_refcounts || options.extended_l2 ||
                        options.compression != Compression::kZlib || !options.data_file.empty();
  if (options.version == 2 && version3)
    return bad("lazy_refcounts, extended_l2, data_file, zstd and refcount_bits other than 16 need compat=1.1");
  if (options.data_file_raw && options.data_file.empty()) return bad("data_file_raw needs data_file");
  if (options.data_file_raw && !options.backing_file.empty())
    return bad("a raw external data file cannot have a backing file");
  if (options.preallocation != Preallocation::kOff && !options.backing_file.empty())
    return bad("preallocation and a backing file do not go together");
  if (options.backing_file.size() > kMaxBackingNameBytes)
    return bad("the backing file's name has more than 1023 bytes");
  if (options.luks && options.preallocation != Preallocation::kOff)
    return bad("preallocation and encryption do not go together");
  const Layout layout = make_header(options).layout();
  if (options.size > std::uint64_t{1} << 62 || layout.l1_entries(options.size) * 8 > kMaxL1Bytes)
    return bad(fmt::format("{} are too large for clusters of {} bytes", format_size(options.size), cluster));
  return {};
}

/// Header, refcount table, one refcount block (or as many as it takes to count these), L1 table, LUKS header, in this
/// order.
Task<Result<>> create(Node& file, const CreateOptions& options) {
  DOPPEL_CO_TRY(check_options(options));
  Header header = make_header(options);
  const Layout layout = header.layout();
  header.l1_entries = static_cast<std::uint32_t>(layout.l1_entries(options.size));
  const std::uint64_t l1_clusters = layout.clusters(std::uint64_t{header.l1_entries} * 8);
  const std::uint64_t entries_per_cluster = layout.cluster_size() / 8;
  std::uint64_t blocks = 1;
  std::uint64_t table_clusters = 1;
  std::uint64_t total = 0;
  if (options.luks) {
    header.encrypted = true;
    DOPPEL_CO_ASSIGN(header.luks_length, luks_overhead(*options.luks));
  }
  const std::uint64_t luks_clusters = layout.clusters(header.luks_length);
  for (;;) {
    total = 1 + table_clusters + blocks + l1_clusters + luks_clusters;
    const std::uint64_t need = (total + layout.refcounts_per_block() - 1) / layout.refcounts_per_block();
    const std::uint64_t need_table = (need + entries_per_cluster - 1) / entries_per_cluster;
    if (need <= blocks && need_table <= table_clusters) break;
    blocks = need;
    table_clusters = need_table;
  }
  const auto place = [&](std::uint64_t cluster) { return cluster << layout.cluster_bits; };
  header.refcount_table_offset = place(1);
  header.refcount_table_clusters = static_cast<std::uint32_t>(table_clusters);
  header.l1_offset = place(1 + table_clusters + blocks);
  if (options.luks) header.luks_offset = place(1 + table_clusters + blocks + l1_clusters);

  DOPPEL_CO_TRY(co_await file.resize(0, Preallocation::kOff));
  DOPPEL_CO_TRY(co_await file.write_zeroes(0, place(total), Unmap::kMayUnmap));
  std::vector<std::byte> table(blocks * 8);
  for (std::uint64_t i = 0; i < blocks; ++i) store_be(table.data() + i * 8, place(1 + table_clusters + i));
  DOPPEL_CO_TRY(co_await file.write(header.refcount_table_offset, std::span<const std::byte>(table)));
  for (std::uint64_t i = 0; i < blocks; ++i) {
    std::vector<std::byte> block(layout.cluster_size());
    const std::uint64_t first = i * layout.refcounts_per_block();
    for (std::uint64_t n = 0; n < layout.refcounts_per_block() && first + n < total; ++n)
      store_refcount(block.data(), n, layout.refcount_order, 1);
    DOPPEL_CO_TRY(co_await file.write(place(1 + table_clusters + i), std::span<const std::byte>(block)));
  }
  if (options.luks) DOPPEL_CO_TRY(co_await create_luks(file, header.luks_offset, *options.luks, options.password));
  DOPPEL_CO_TRY(co_await write_header(file, header));
  co_return co_await file.flush();
}

}  // namespace doppel::block::qcow2
