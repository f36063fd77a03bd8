# frozen_string_literal: true

require "shellwords"
require_relative "group_report"
require_relative "sparkline"

module Transfer
  module CLI
    # Summaries and metrics as lines of text.
    module Report
      # What inputs are called, by modality.
      NOUNS = { image: "images", text: "texts", table: "rows" }.freeze

      class << self
        # @param summary [Hash{Symbol => Object}] a model summary
        # @param seconds [Float] duration of the training
        # @return [Array<String>]
        def training(summary, seconds)
          [*held_out(summary), "#{nouns(summary).capitalize}: #{parts(summary)}; took #{format('%.1f', seconds)} s",
           *Sparkline.lines(summary.fetch(:history, [])), *instance_weights(summary), *warnings(summary)]
        end

        # @param summary [Hash{Symbol => Object}] a model summary
        # @return [Array<String>] a line about the weights of the source examples, if they have some
        def instance_weights(summary)
          found = summary[:instance_weights]
          return [] if found.nil? || found.empty?

          most, least = found.values_at(:most, :least).map do |examples|
            examples.first(3).map { |one| "#{one[:input]} (#{short(one[:weight])})" }.join(", ")
          end
          ["Source weights (#{found[:method]}): #{found[:examples]} #{nouns(summary)} count as " \
           "#{found[:effective].round}; most useful: #{most}; least: #{least}"]
        end

        # @param summary [Hash{Symbol => Object}] a model summary
        # @return [String] numbers of examples, such as `train 20 + valid 4 + test 6 = 30; 24 fitted, 6 measured`
        def parts(summary)
          data = summary.fetch(:data, {})
          return words(summary[:sizes]) if data.empty?

          parts = data[:parts].map { |part| "#{part[:name]} #{part[:examples]}" }
          fitted = "#{data[:fitted]} fitted"
          fitted += ", #{data[:calibrated]} calibrated on (#{data[:calibrated_by]})" if data[:calibrated].positive?
          "#{parts.join(' + ')} = #{data[:examples]}; #{fitted}, #{data[:measured]} measured"
        end

        # @param summary [Hash{Symbol => Object}] a model summary
        # @return [Array<String>] the warnings of the training
        def warnings(summary) = summary[:warnings].map { |message| "Warning: #{message}" }

        # @param summary [Hash{Symbol => Object}] a model summary
        # @return [Array<String>] the metrics on the held-out examples
        def held_out(summary) = metrics(summary[:metrics], "held-out #{nouns(summary)}")

        # @param nouns [String] such as `held-out images`
        # @return [Array<String>] the main metrics, beside a baseline
        def metrics(metrics, nouns)
          return ["No metrics: nothing was held out"] if metrics.empty?

          [*of_task(metrics, "#{metrics[:examples]} #{nouns}"), *GroupReport.lines(metrics[:groups])]
        end

        # @return [Array<String>] measured coverage of prediction sets or intervals, if there were enough examples
        def coverage(metrics)
          found = metrics[:conformal] or return []
          low, high = found[:interval].map { |share| percent(share) }
          return margins(found, low, high) if found[:margin]

          size = ", mean size #{format('%.1f', found[:mean_size])}" if found[:mean_size]
          ["Prediction #{size ? 'sets' : 'intervals'} at level #{percent(found[:level])}: " \
           "coverage #{percent(found[:coverage])} (95 % interval #{low} to #{high})#{size}"]
        end

        # @param file [String] the model file
        # @return [Array<String>]
        def saved(file)
          ["Saved #{file} (#{Amounts.size(File.size(file))})",
           "Next: transfer predict #{Shellwords.escape(file)} INPUT"]
        end

        # @return [Array<Array(String, String)>] rows of the description of a model file
        def facts(file, summary)
          labels, versions = summary.values_at(:labels, :versions)
          [["file", "#{file} (#{Amounts.size(summary[:bytes])})"], ["task", summary[:task]],
           ["labels", labels.join(", ")], ["backbone", summary[:backbone]], ["created", summary[:created_at]],
           [nouns(summary), parts(summary)], ["versions", words(versions)]].reject { |_, value| value == "" }
        end

        # @param nouns [String] such as `images`
        # @return [String, nil] a table of precision, recall, F1 and support of each class or label
        def per_class(metrics, nouns)
          if metrics.key?(:average_precision)
            columns = %w[average_precision average_precision_50 precision recall f1 threshold]
            return table(metrics[:per_class], "class", columns.map(&:to_sym), "boxes")
          end
          return table(metrics[:per_class], "class", %i[precision recall f1], nouns) if metrics[:per_class]

          columns = %i[average_precision precision recall f1 threshold]
          table(metrics[:per_label], "label", columns, nouns) if metrics[:per_label]
        end

        # @return [String] `91.2 %`
        def percent(share) = format("%.1f %%", share * 100)

        private

        def of_task(metrics, nouns)
          return multi_label(metrics, nouns) if metrics.key?(:mean_average_precision)
          return detection(metrics, nouns) if metrics.key?(:average_precision)
          return generation(metrics, nouns) if metrics.key?(:chrf2)

          metrics.key?(:accuracy) ? classification(metrics, nouns) : regression(metrics, nouns)
        end

        def classification(metrics, nouns)
          baseline, f1, balanced = metrics.values_at(:baseline, :macro_f1, :balanced_accuracy)
          lines = ["Accuracy on #{nouns}: #{percent(metrics[:accuracy])}" \
                   "#{interval(metrics, :accuracy) { |share| percent(share) }}",
                   "Balanced accuracy: #{percent(balanced)}, macro-F1: #{format('%.3f', f1)}",
                   "Baseline (always \"#{baseline[:label]}\"): #{percent(baseline[:accuracy])}",
                   *tfidf(metrics)]
          confused = metrics[:most_confused].map { |pair| "#{pair[:truth]} as #{pair[:predicted]} (#{pair[:count]})" }
          confused.empty? ? lines : lines << "Most confused: #{confused.join(', ')}"
        end

        # The baseline of text models.
        def tfidf(metrics)
          return [] unless metrics.key?(:tfidf_accuracy)

          accuracy, f1 = metrics.values_at(:tfidf_accuracy, :tfidf_macro_f1)
          ["Baseline (TF-IDF and logistic regression): #{percent(accuracy)}, macro-F1: #{format('%.3f', f1)}"]
        end

        def regression(metrics, nouns)
          ["Mean absolute error on #{nouns}: #{short(metrics[:mae])}" \
           "#{interval(metrics, :mae) { |value| short(value) }}",
           "Baseline (always the mean): #{short(metrics[:baseline][:mae])}",
           "R2 #{short(metrics[:r2])}, root mean squared error #{short(metrics[:rmse])}"]
        end

        def multi_label(metrics, nouns)
          shares = metrics.values_at(:micro_f1, :macro_f1, :exact_match).map { |share| percent(share) }
          ["Mean average precision on #{nouns}: #{percent(metrics[:mean_average_precision])}" \
           "#{interval(metrics, :mean_average_precision) { |share| percent(share) }}",
           "Baseline (the same labels always): #{percent(metrics[:baseline][:mean_average_precision])}",
           "Micro-F1 #{shares[0]}, macro-F1 #{shares[1]}, exact match #{shares[2]}"]
        end

        def detection(metrics, nouns)
          average = ->(suffix) { known(metrics[:"average_precision#{suffix}"]) }
          ["Average precision (IoU 0.5 to 0.95) on #{nouns} with #{metrics[:boxes]} boxes: #{average['']}" \
           "#{interval(metrics, :average_precision) { |share| percent(share) }}",
           "At IoU 0.5: #{average['_50']}, at 0.75: #{average['_75']}; small objects #{average['_small']}, medium " \
           "#{average['_medium']}, large #{average['_large']}",
           "Baseline (the mean box of each class): #{known(metrics[:baseline][:average_precision])}",
           "Precision #{percent(metrics[:precision])}, recall #{percent(metrics[:recall])}, F1 " \
           "#{format('%.3f', metrics[:f1])} at the thresholds of the classes", *worst(metrics[:worst])]
        end

        def generation(metrics, nouns)
          main, *others = metrics.key?(:rouge_l) ? %i[rouge_l rouge1 rouge2 chrf2] : %i[chrf2 bleu]
          shown = ->(name, found) { "#{name.to_s.sub('_', '-')} #{short(found[name])}" }
          ["#{shown[main, metrics]}#{interval(metrics, main) { |value| short(value) }} on #{nouns}; " \
           "#{others.map { |name| shown[name, metrics] }.join(', ')}, exact match #{percent(metrics[:exact_match])}",
           "Baseline (the source, copied): #{shown[main, metrics[:baseline]]}",
           *("Untuned model: #{shown[main, metrics[:untuned]]}" if metrics[:untuned]),
           *metrics[:worst].first(3).map do |one|
             "Worst: #{Plain.brief(one[:source])} became #{Plain.brief(one[:prediction])}"
           end]
        end

        def worst(images)
          return [] if images.empty?

          shown = images.first(3).map { |one| "#{one[:image]} (#{one[:missed]} missed, #{one[:wrong]} wrong)" }
          ["Worst images: #{shown.join(', ')}"]
        end

        def margins(found, low, high)
          ["Outer boxes at level #{percent(found[:level])}: coverage #{percent(found[:coverage])} " \
           "(95 % interval #{low} to #{high}), margins of #{percent(found[:margin])} of the sides"]
        end

        def known(share) = share ? percent(share) : "unknown"

        def table(rows, first, columns, nouns)
          cells = rows.map do |row|
            scores = row.values_at(*columns).map { |score| score ? format("%.3f", score) : "" }
            [row[:label], *scores, row[:support]]
          end
          Table.render([[first, *columns.map { |name| name.to_s.tr("_", " ") }, nouns], *cells])
        end

        def nouns(summary) = NOUNS.fetch(summary.fetch(:modality, "image").to_sym)

        def words(hash) = hash.map { |pair| pair.join(" ") }.join(", ")

        def interval(metrics, name)
          low, high = metrics.dig(:intervals, name)
          low ? " (95 % interval #{yield low} to #{yield high})" : ""
        end

        def short(number) = format("%.4g", number)
      end
    end
    private_constant :Report
  end
end
