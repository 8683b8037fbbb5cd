#include "hw/scsi/scsi_bus.h"

#include <algorithm>

#include "base/endian.h"
#include "hw/scsi/scsi_opcodes.h"

namespace doppel::hw {

Result<> ScsiBus::add(ScsiAddress address, std::unique_ptr<ScsiDisk> unit) {
  if (units_.contains(address))
    return fail(ErrorKind::kAlreadyExists,
                "there is a drive at scsi-id={},lun={} already; give one of the two another scsi-id= or lun=",
                address.target, address.lun);
  units_.emplace(address, std::move(unit));
  return {};
}

unsigned ScsiBus::free_target() const {
  unsigned target = 0;
  while (target < kTargets && has_target(static_cast<std::uint8_t>(target))) ++target;
  return target;
}

bool ScsiBus::has_target(std::uint8_t target) const {
  const auto first = units_.lower_bound({target, 0});
  return first != units_.end() && first->first.target == target;
}

ScsiDisk* ScsiBus::find(ScsiAddress address) const {
  const auto found = units_.find(address);
  return found == units_.end() ? nullptr : found->second.get();
}

Result<> ScsiBus::execute(ScsiAddress address, const ScsiTaskPtr& task) {
  if (task->cdb()[0] == scsi::kReportLuns) return report_luns(address.target, task);
  if (ScsiDisk* unit = find(address)) return unit->execute(task);
  return answer_for_nobody(task);
}

/// SPC-4 section 6.33.
Result<> ScsiBus::report_luns(std::uint8_t target, const ScsiTaskPtr& task) const {
  const auto& cdb = task->cdb();
  if (cdb[2] > 2) return task->check(scsi::kInvalidField);
  std::vector<std::uint16_t> luns;
  // Report 1 is for well known units alone, of which there are none.
  for (auto unit = units_.lower_bound({target, 0}); unit != units_.end() && unit->first.target == target; ++unit)
    if (cdb[2] != 1) luns.push_back(unit->first.lun);
  std::vector<std::byte> reply(8 + 8 * luns.size());
  store_be(reply.data(), static_cast<std::uint32_t>(8 * luns.size()));
  constexpr std::uint16_t kFlat = 0x4000;  // how numbers of 256 and more are written (SAM-5 section 4.7.7)
  for (std::size_t i = 0; i < luns.size(); ++i)
    store_be(reply.data() + 8 + 8 * i, static_cast<std::uint16_t>(luns[i] < 256 ? luns[i] : luns[i] | kFlat));
  return ScsiDisk::reply(task, reply, load_be<std::uint32_t>(cdb.data() + 6));
}

/// What a target says for a unit that it has not: SPC-4 section 6.4.2.
Result<> ScsiBus::answer_for_nobody(const ScsiTaskPtr& task) {
  switch (task->cdb()[0]) {
    case scsi::kInquiry: {
      std::vector<std::byte> reply(36);
      reply[0] = std::byte{0x7f};
      reply[2] = std::byte{5};
      reply[4] = std::byte{31};
      return ScsiDisk::reply(task, reply, load_be<std::uint16_t>(task->cdb().data() + 3));
    }
    case scsi::kRequestSense: {
      const auto sense = scsi::fixed_format(scsi::kNoSuchUnit);
      return ScsiDisk::reply(task, std::as_bytes(std::span(sense)), task->cdb()[4]);
    }
    default: return task->check(scsi::kNoSuchUnit);
  }
}

}  // namespace doppel::hw
