# frozen_string_literal: true

require_relative "shell"

# The first part of the guide, command by command, in a new application.
RSpec.describe "docs/guides/rails.md" do
  include Shell

  root = File.expand_path("../..", __dir__)
  guide = File.read(File.join(root, "docs/guides/rails.md"))[/## Ten minutes.*?(?=\n## )/m]
  commands = guide.scan(/^\$ (.+)$/).flatten
  taken = commands.reject { |command| command.start_with?("bundle add", "bin/rails transfer:setup") }
  macro = guide[/^  has_prediction.+$/]
  # What the guide does not use, and Debian lacks in part.
  left_out = %w[bundle git asset-pipeline javascript hotwire jbuilder bootsnap test system-test action-mailbox
                action-text kamal brakeman rubocop ci]

  it "leads from `rails new` to a prediction" do
    Dir.mktmpdir do |folder|
      sh("rails new app --quiet --skip-#{left_out.join(' --skip-')}", folder)
      app = File.join(folder, "app")
      File.write(File.join(app, "Gemfile"), <<~RUBY)
        source "https://rubygems.org"
        gem "rails"
        gem "sqlite3"
        gem "puma"
        gem "transfer-rb", path: #{root.inspect}, require: "transfer"
      RUBY
      File.write(File.join(app, "config/initializers/jobs.rb"),
                 "Rails.application.config.active_job.queue_adapter = :inline\n")
      sh("bin/rails generate model Photo species:string", app)
      File.write(File.join(app, "app/models/photo.rb"), guide[/^class Photo.*?^end\n/m])
      photo_folder(File.join(app, "photos"), count: 6, colors: Photos::COLORS.first(2).to_h)

      results = taken.map do |command|
        fill(app) if command.include?("train_prediction")
        sh(command, app)
      end
      expect(results.join).to include("ok    tables")
      expect(File.read(File.join(app, "app/models/photo.rb"))).to include(macro)
      kinds = sh("bin/rails runner 'puts Photo.where(species: nil).map(&:kind).inspect'", app)
      expect(kinds).to include('["red", "green"]')
    end
  end

  def fill(app)
    sh(<<~SHELL, app)
      bin/rails runner '
        %w[red green].each do |kind|
          Dir["photos/\#{kind}/*.png"].sort.each_with_index do |file, i|
            photo = Photo.new(species: (kind if i.positive?))
            photo.file.attach(io: File.open(file), filename: File.basename(file))
            photo.save!
          end
        end
      '
    SHELL
  end
end
