# frozen_string_literal: true

module Transfer
  module CLI
    class Root
      desc "doctor", "Diagnose the installation and print the fix"
      long_desc <<~TEXT
        Checks the interpreter, versions, PyTorch and its devices, pretrained weights,
        permissions and the disk. Exits with status 4 if a check fails.

          transfer doctor
          transfer doctor --bridge

        With --bridge it starts, calls, kills and stops a worker instead, and shows the
        shared worker, if there is one.
      TEXT
      option :bridge, type: :boolean, desc: "Check the connection to Python"
      shared_options :json
      def doctor
        checks = options[:bridge] ? Doctor.bridge_checks : Doctor.checks
        output(checks.map(&:to_h)) do
          [Table.render(checks.map { |check| [check.ok ? "ok" : "FAIL", check.name, check.detail] }),
           *checks.select(&:fixable?).map { |check| "Fix for #{check.name}: #{check.remedy}" }]
        end
        finish ExitStatus::MACHINE unless checks.all?(&:ok)
      end
    end
  end
end
