# frozen_string_literal: true

module Transfer
  module CLI
    class Root
      desc "rank DATA", "Rank backbones on your data"
      long_desc <<~TEXT
        Embeds a sample of the training examples with each backbone, and fits a
        cross-validated head. Prints the expected metric of each, the best first.
        Embeddings are cached for the training that follows.

          transfer rank photos/
          transfer rank photos/ --among mobilenet_v2,resnet18 --budget 300
          transfer rank tweets.csv --json
      TEXT
      option :among, banner: "NAMES", desc: "Only these backbones, separated by commas"
      option :modality, banner: "KIND", enum: %w[image text table], desc: "Kind of input, if the data don't show it"
      option :budget, banner: "SECONDS", type: :numeric, default: 60, desc: "Begin no further backbone afterwards (60)"
      shared_options :task, *OPTIONS["Data"].keys - %i[augment image_size], :seed, :device, :quiet, :trust, :json
      def rank(data)
        names = options[:among]&.split(",")&.map(&:strip)
        ranking = Transfer.rank(among: names, modality: options[:modality], budget: options[:budget],
                                quiet: options[:quiet], **recipe(data))
        output(ranking.to_h) { rank_lines(ranking) }
      end

      private

      def rank_lines(ranking)
        header = ["backbone", ranking.metric.to_s, "95 % interval", "ms/input", "size", "licence"]
        left_out = ranking.left_out.map { |name, reason| "left out: #{name}: #{reason}" }
        sample = "cross-validated on #{ranking.sampled} of #{ranking.examples} training examples"
        [Table.render([header, *ranking.map { |entry| rank_cells(entry) }]), sample, *left_out]
      end

      def rank_cells(entry)
        span = [entry.interval.begin, entry.interval.end].map { |value| format("%.3f", value) }.join(" - ")
        speed = entry.seconds_per_input ? format("%.1f", entry.seconds_per_input * 1000) : "cached"
        size = entry.parameters ? format("%.1fM", entry.parameters / 1e6) : ""
        [entry.backbone, format("%.3f", entry.expected), span, speed, size, entry.license]
      end
    end
  end
end
