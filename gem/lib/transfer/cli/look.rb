# frozen_string_literal: true

module Transfer
  # What can be looked up: networks and model files.
  class CLI
    desc "backbones", "The pretrained networks there are"
    long_desc <<~TEXT, wrap: false
      Prints size, accuracy on ImageNet, name and licence of the preferred weights.

        transfer backbones
        transfer backbones --max-parameters 10M --sort top1
        transfer backbones --license BSD-3-Clause
        transfer backbones --offline              whose weights are on this machine
    TEXT
    option :max_parameters, banner: "N", desc: "At most so many parameters, such as 10M"
    option :license, banner: "NAME", desc: "Only weights under this licence"
    option :offline, type: :boolean, desc: "Only those whose weights are on this machine"
    option :sort, banner: "name|parameters|top1", enum: %w[name parameters top1], default: "name", desc: "The order"
    json_option
    # Lists backbones.
    def backbones
      there = Transfer.backbones(offline: options.fetch(:offline, false))
      chosen = sort_backbones(there.select { |backbone| wanted?(backbone) })
      answer(chosen.map(&:to_h)) do
        puts Table.render([%w[backbone parameters top-1 weights licence], *chosen.map { |backbone| row(backbone) }])
      end
    end

    desc "info MODEL", "What is in a model file"
    long_desc <<~TEXT, wrap: false
      Shows what the model was made from, what it knows and how good it was.

        transfer info signs.transfer
        transfer info signs.transfer --json       with recipe, history and versions
    TEXT
    json_option
    # Describes a model file.
    def info(file)
      model = Transfer.load(file)
      answer(model.summary) do
        puts Table.render(Report.facts(file, model.summary))
        puts "", Report.held_out(model.summary)
      end
    end

    private

    def wanted?(backbone)
      weights = preferred(backbone)
      (options[:max_parameters].nil? || backbone.parameters <= count(options[:max_parameters])) &&
        (options[:license].nil? || weights[:license].casecmp?(options[:license]))
    end

    def sort_backbones(backbones)
      case options[:sort]
      when "parameters" then backbones.sort_by(&:parameters)
      when "top1" then backbones.sort_by { |backbone| -(preferred(backbone)[:top1] || 0) }
      else backbones.sort_by(&:name)
      end
    end

    def row(backbone)
      weights = preferred(backbone)
      [backbone.name, format("%.1fM", backbone.parameters / 1e6), weights[:top1] && format("%.1f", weights[:top1]),
       weights[:name], weights[:license]]
    end

    def preferred(backbone) = backbone.weights.find { |weights| weights[:name] == backbone[:default] }

    # `10M` is 10 000 000.
    def count(text)
      number, unit = text.match(/\A([\d.]+)([kMG]?)\z/)&.captures
      raise Thor::Error, "--max-parameters takes a number such as 10M, got #{text}" unless number

      number.to_f * { "" => 1, "k" => 1e3, "M" => 1e6, "G" => 1e9 }.fetch(unit)
    end
  end
end
