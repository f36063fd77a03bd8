# frozen_string_literal: true

module Transfer
  module CLI
    class Root
      desc "audit DATA", "Find wrong labels, duplicates and leaks in data"
      long_desc <<~TEXT
        Embeds the inputs with a frozen backbone and prints unreadable files, exact and
        near duplicates, candidates for wrong labels, outliers, rare labels, columns and
        properties of files that predict the label by themselves, and groups in several
        parts. --report writes a page with the pictures. --output writes a table.
        Correct its labels, set keep to no for inputs to leave out, and train with it.

          transfer audit photos/ --report audit.html --output audit.csv
          transfer train photos/ --corrections audit.csv
          transfer audit houses.csv --target-column sold \\
            --backbone sklearn:ColumnTransformer
      TEXT
      option :output, banner: "FILE", type: :string, desc: "Write the findings about inputs to this CSV"
      option :report, banner: "FILE", type: :string, desc: "Write the findings with pictures to this HTML page"
      shared_options :backbone, :weights, :task, :input_column, :target_column, :split_column, :group_column,
                     :split_group, :corrections, :seed, :device, :force, :quiet, :trust, :json
      def audit(data)
        file = options[:output] && output_file(:output, "audit.csv")
        page = options[:report] && output_file(:report, "audit.html")
        report = Transfer.audit(report: page, quiet: options[:quiet], **recipe(data))
        report.save(file) if file
        output(report.to_h) { [*report.to_s.lines(chomp: true), *[file, page].compact.map { |one| "saved to #{one}" }] }
      end
    end
  end
end
