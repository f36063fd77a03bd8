# frozen_string_literal: true

module Transfer
  module CLI
    class Root
      desc "check DATA", "Check data before a training"
      long_desc <<~TEXT
        Reads the data as a training does and decodes every image. Prints problems that
        would stop a training, warnings, examples per label and the sizes of the parts.

          transfer check photos/
          transfer check tweets.csv --backbone hf/sentence-transformers/all-MiniLM-L6-v2
          transfer check houses.csv --target-column price \\
            --backbone sklearn:ColumnTransformer

        Exits with status 3 if there are problems.
      TEXT
      shared_options :backbone, :task, *OPTIONS["Data"].keys - [:augment], :seed, :quiet, :trust, :json
      def check(data)
        report = Transfer.check(quiet: options[:quiet], **recipe(data))
        output(report.to_h) { check_lines(report) }
        finish(ExitStatus::DATA) unless report.ok?
      end

      private

      def check_lines(report)
        counts = ->(numbers) { numbers.map { |pair| pair.join(": ") } }
        { "problem" => report.problems, "warning" => report.warnings, "label" => counts.call(report.labels),
          "part" => counts.call(report.sizes) }
          .flat_map { |kind, lines| lines.map { |line| "#{kind.ljust(7)}  #{line}" } }
          .push(report.ok? ? "ok" : "#{report.problems.size} problems")
      end
    end
  end
end
