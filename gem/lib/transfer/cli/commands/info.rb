# frozen_string_literal: true

require_relative "../report"

module Transfer
  module CLI
    class Root
      desc "info MODEL", "Describe a model file"
      long_desc <<~TEXT
        Prints backbone, labels, data, versions and metrics; with --json also the recipe
        and the history of the training.

          transfer info signs.transfer
          transfer info signs.transfer --json
      TEXT
      shared_options :signed_by, :json
      def info(file)
        summary = open_model(file).summary
        output(summary) do
          [Table.render(Report.facts(file, summary)), "", *Report.held_out(summary), *Report.warnings(summary)]
        end
      end
    end
  end
end
