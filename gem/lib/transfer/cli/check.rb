# frozen_string_literal: true

module Transfer
  # Data without a training.
  class CLI
    desc "check DATA", "Check data: read it, decode all images, count labels"
    long_desc <<~TEXT, wrap: false
      Does all that a training does before it computes anything, and decodes every
      image. Prints what would stop a training, warnings, labels with their numbers
      and the sizes of the parts. The exit status is 1 if there are problems.

        transfer check photos/
        transfer check tweets.csv --backbone hf/sentence-transformers/all-MiniLM-L6-v2
        transfer check houses.csv --target-column price \\
          --backbone sklearn:ColumnTransformer
    TEXT
    option :backbone, default: "mobilenet_v2", banner: "NAME", desc: "The network to train: decides what inputs are"
    option :task, banner: "NAME", desc: "classification, multi_label or regression, if in doubt"
    TRAIN_OPTIONS.fetch("Data").each do |name, banner, desc|
      option(name, desc:, banner:, type: banner ? :string : :boolean) unless name == :augment
    end
    option :seed, banner: "N", desc: "Everything random starts from it (0)"
    option :quiet, type: :boolean, desc: "Show no progress"
    option :trust, type: :boolean, desc: "Allow code to run that comes with the backbone"
    json_option
    # Checks data.
    def check(data)
      report = Transfer.check(quiet: options[:quiet], **recipe(data))
      answer(report.to_h) { puts report_lines(report) }
      finish(FAULT) unless report.ok?
    end

    private

    def report_lines(report)
      labels = report.labels.map { |label, count| "label    #{label}: #{count}" }
      parts = report.sizes.map { |part, count| "part     #{part}: #{count}" }
      found = report.ok? ? "ok" : "#{report.problems.size} problems"
      [*report.problems.map { |line| "problem  #{line}" }, *report.warnings.map { |line| "warning  #{line}" },
       *labels, *parts, found]
    end
  end
end
